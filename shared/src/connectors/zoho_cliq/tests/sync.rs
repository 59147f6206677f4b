//! Polling of messages, against a mock server that holds chats.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Value, json};
use wiremock::matchers::{path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{ZohoCliq, cliq, floor, now, request};
use crate::connectors::{Connector, ConnectorError, MissingScope, SyncPage, SyncRequest};
use crate::http::Priority;
use crate::model::LimitScope;

/// Milliseconds of this many seconds ago.
pub(super) fn ago(seconds: i64) -> i64 {
    (now() - TimeDelta::seconds(seconds)).timestamp_millis()
}

/// A message with this time and number.
pub(super) fn message(time: i64, number: usize) -> Value {
    json!({
        "id": format!("{time}_{number}"), "time": time, "type": "text",
        "sender": { "id": "64800201", "name": "Ada Byron" },
        "content": { "text": format!("message {number}") },
    })
}

/// Answers requests for the messages of every chat: the oldest of the window.
pub(super) async fn hold(server: &MockServer, chats: &'static [(&'static str, Vec<i64>)]) {
    Mock::given(path_regex("/api/v2/chats/.*/messages$"))
        .respond_with(move |request: &Request| {
            let chat = request
                .url
                .path()
                .split('/')
                .nth_back(1)
                .unwrap_or_default();
            let number = |name: &str| -> i64 {
                let mut pairs = request.url.query_pairs();
                let (_, value) = pairs.find(|(key, _)| key == name).expect("a parameter");
                value.parse().expect("a number")
            };
            let (from, to, limit) = (number("fromtime"), number("totime"), number("limit"));
            let times = chats.iter().find(|(known, _)| *known == chat);
            let times = times.map(|(_, times)| times.as_slice()).unwrap_or_default();
            let rows = times.iter().enumerate();
            let rows = rows.filter(|(_, time)| (from..=to).contains(*time));
            let rows = rows.map(|(number, time)| message(*time, 1_000 + number));
            let rows: Vec<Value> = rows
                .take(usize::try_from(limit).expect("a limit"))
                .collect();
            ResponseTemplate::new(200).set_body_json(json!({ "data": rows }))
        })
        .mount(server)
        .await;
}

/// Leaks what a mock server holds.
pub(super) fn world(chats: &[(&'static str, Vec<i64>)]) -> &'static [(&'static str, Vec<i64>)] {
    Box::leak(chats.to_vec().into_boxed_slice())
}

pub(super) async fn respond(server: &MockServer, at: &str, status: u16, body: Value) {
    Mock::given(path(format!("/eu/api/v2/{at}")))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

/// The queries of the requests to a path, in order.
pub(super) async fn queries(server: &MockServer, at: &str) -> Vec<String> {
    let requests = server.received_requests().await.expect("requests");
    let of_path = |request: &&Request| request.url.path() == format!("/eu/api/v2/{at}");
    let found = requests.iter().filter(of_path);
    found
        .map(|request| request.url.query().unwrap_or_default().to_owned())
        .collect()
}

/// Reads a stream to its end; returns its pages.
pub(super) async fn read_all(
    cliq: &ZohoCliq,
    stream: &str,
    target: &Value,
    mut cursor: Option<Value>,
) -> Vec<SyncPage> {
    let mut pages = Vec::new();
    loop {
        let page = cliq.sync(request(stream, target.clone(), cursor)).await;
        let page = page.expect("a page");
        assert!(pages.len() < 50, "the stream does not end");
        let has_more = page.has_more;
        cursor = Some(page.cursor.clone());
        pages.push(page);
        if !has_more {
            return pages;
        }
    }
}

/// The ends of the dedupe keys, behind the chat's id.
pub(super) fn keys(pages: &[SyncPage]) -> BTreeSet<String> {
    let signals = pages.iter().flat_map(|page| &page.signals);
    let keys = signals.map(|signal| signal.dedupe_key.splitn(4, ':').nth(3));
    keys.map(|key| key.expect("a message").to_owned()).collect()
}

fn texts(times: &[i64]) -> BTreeSet<String> {
    times.iter().map(ToString::to_string).collect()
}

/// A cursor that has been read up to this time.
fn cursor(read_to: i64) -> Value {
    json!({ "floor": floor().timestamp_millis(), "read_to": read_to, "walk": null })
}

pub(super) fn active_at(time: i64) -> Value {
    json!({ "title": "#general", "is_channel": true, "active_at": time })
}

#[tokio::test]
async fn unchanged_chat_costs_no_call() {
    let (server, cliq) = cliq().await;
    let read_to = ago(600);
    for (active, calls) in [(ago(600 + 121), 0), (ago(600 + 120), 1), (ago(60), 2)] {
        hold(&server, world(&[("CT_1", vec![])])).await;
        let pages = read_all(
            &cliq,
            "chat:CT_1",
            &active_at(active),
            Some(cursor(read_to)),
        )
        .await;
        assert_eq!(pages.len(), 1);
        let is_unchanged = pages[0].cursor == cursor(read_to);
        assert_eq!(is_unchanged, active < ago(600 + 120), "{active}");
        assert_eq!(queries(&server, "chats/CT_1/messages").await.len(), calls);
    }
}

#[tokio::test]
async fn delivery_and_reconciliation_read_a_quiet_chat() {
    let (server, cliq) = cliq().await;
    hold(&server, world(&[("CT_1", vec![ago(5_000)])])).await;
    let quiet = request("chat:CT_1", active_at(ago(5_000)), Some(cursor(ago(600))));
    for asked in [
        SyncRequest {
            priority: Priority::Immediate,
            ..quiet.clone()
        },
        SyncRequest {
            cursor: None,
            reconcile_from: Some(floor()),
            ..quiet.clone()
        },
    ] {
        cliq.sync(asked).await.expect("a page");
    }
    assert_eq!(queries(&server, "chats/CT_1/messages").await.len(), 2);
    cliq.sync(quiet).await.expect("a page");
    assert_eq!(queries(&server, "chats/CT_1/messages").await.len(), 2);
}

#[tokio::test]
async fn runs_overlap_by_two_minutes() {
    let (server, cliq) = cliq().await;
    let late = ago(700);
    hold(&server, world(&[("CT_1", vec![ago(900), late, ago(30)])])).await;
    let pages = read_all(
        &cliq,
        "chat:CT_1",
        &active_at(ago(30)),
        Some(cursor(ago(600))),
    )
    .await;
    assert_eq!(keys(&pages), texts(&[late, ago(30)]));
    let query = &queries(&server, "chats/CT_1/messages").await[0];
    let (from, to) = (ago(720) - 1, ago(0) + 1);
    assert_eq!(*query, format!("fromtime={from}&totime={to}&limit=100"));
    assert_eq!(pages[0].cursor["read_to"], ago(0));
}

#[tokio::test]
async fn first_read_ends_at_the_floor() {
    let (server, cliq) = cliq().await;
    let before = floor().timestamp_millis() - 1;
    let times = [before, before + 1, ago(3)];
    hold(&server, world(&[("CT_1", times.to_vec())])).await;
    let pages = read_all(&cliq, "chat:CT_1", &active_at(ago(3)), None).await;
    assert_eq!((pages.len(), keys(&pages)), (1, texts(&times[1..])));
}

#[tokio::test]
async fn every_message_of_a_busy_chat_is_found() {
    let (server, cliq) = cliq().await;
    let times: Vec<i64> = (1..=450).rev().map(|number| ago(number * 997)).collect();
    hold(&server, world(&[("CT_1", times.clone())])).await;
    let pages = read_all(&cliq, "chat:CT_1", &active_at(ago(3)), None).await;
    assert_eq!(keys(&pages), texts(&times));
    assert!(pages.len() <= 9, "{} calls", pages.len());
    let progress: Vec<f32> = pages.iter().map(|page| page.progress).collect();
    assert!(progress.is_sorted(), "{progress:?}");
}

#[tokio::test]
async fn millisecond_across_two_pages_is_numbered_once() {
    let (server, cliq) = cliq().await;
    for shared in [3, 40] {
        for before in 90..=100 {
            server.reset().await;
            let mut times: Vec<i64> = (0..before).map(|number| ago(9_000) + number).collect();
            times.extend(vec![ago(8_000); shared]);
            times.extend((1..=60).map(|number| ago(7_000) + number));
            hold(&server, world(&[("CT_1", times.clone())])).await;
            let pages = read_all(&cliq, "chat:CT_1", &active_at(ago(3)), None).await;
            let mut expected = texts(&times);
            expected.extend((2..=shared).map(|number| format!("{}:{number}", ago(8_000))));
            assert_eq!(keys(&pages), expected, "{before} messages before");
        }
    }
}

#[tokio::test]
async fn full_page_of_one_millisecond_does_not_loop() {
    let (server, cliq) = cliq().await;
    let mut times = vec![ago(9_000); 150];
    times.push(ago(20));
    hold(&server, world(&[("CT_1", times)])).await;
    let pages = read_all(&cliq, "chat:CT_1", &active_at(ago(20)), None).await;
    let found = keys(&pages);
    assert!(
        found.contains(&ago(20).to_string()) && found.len() == 101,
        "{found:?}"
    );
}

#[tokio::test]
async fn full_page_of_other_messages_is_an_error() {
    let other = |number: usize| message(ago(9_000), number);
    let unreadable = |_: usize| json!({ "type": "text", "content": "without a time" });
    let pages: [Vec<Value>; 2] = [
        (0..100).map(other).collect(),
        (0..100).map(unreadable).collect(),
    ];
    for rows in pages {
        let (server, cliq) = cliq().await;
        respond(&server, "chats/CT_1/messages", 200, json!({ "data": rows })).await;
        let request = request("chat:CT_1", active_at(ago(30)), Some(cursor(ago(600))));
        let result = cliq.sync(request).await;
        assert!(
            matches!(result, Err(ConnectorError::Permanent(_))),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn interrupted_walk_keeps_its_bounds() {
    let (server, cliq) = cliq().await;
    let times: Vec<i64> = (1..=250).rev().map(|number| ago(number * 60)).collect();
    hold(&server, world(&[("CT_1", times.clone())])).await;
    let first = cliq
        .sync(request("chat:CT_1", active_at(ago(60)), None))
        .await;
    let first = first.expect("a page");
    assert!(first.has_more);
    // A later run finishes the walk of the earlier one.
    let mut later = request("chat:CT_1", active_at(ago(60)), Some(first.cursor.clone()));
    later.upper_bound = now() + TimeDelta::hours(1);
    let mut pages = vec![first, cliq.sync(later).await.expect("a page")];
    let rest = Some(pages[1].cursor.clone());
    pages.extend(read_all(&cliq, "chat:CT_1", &active_at(ago(60)), rest).await);
    assert_eq!(keys(&pages), texts(&times));
    assert_eq!(pages.last().expect("a page").cursor["read_to"], ago(0));
}

#[tokio::test]
async fn lock_concerns_only_messages() {
    let (server, cliq) = cliq().await;
    let body = json!({ "code": "request_limit_exceeded", "message": "You have exceeded the URL throttle limits." });
    respond(&server, "chats/CT_1/messages", 400, body).await;
    let result = cliq.sync(request("chat:CT_1", Value::Null, None)).await;
    match result {
        Err(ConnectorError::RateLimited {
            scope,
            operation,
            retry_at,
            ..
        }) => {
            assert_eq!((scope, operation), (LimitScope::Operation, "list_messages"));
            assert_eq!(retry_at, now() + TimeDelta::minutes(10));
        }
        other => panic!("{other:?}"),
    }
}

/// The answer to a call whose scope Zoho granted and rejects.
pub(super) fn scope_rejected() -> Value {
    json!({ "code": "oauthtoken_scope_invalid", "message": "The scope is not accepted." })
}

#[tokio::test]
async fn rejected_scope_is_named() {
    let (server, cliq) = cliq().await;
    respond(&server, "chats/CT_1/messages", 401, scope_rejected()).await;
    match cliq.sync(request("chat:CT_1", Value::Null, None)).await {
        Err(ConnectorError::Denied { source, .. }) => {
            let missing = source.downcast_ref::<MissingScope>();
            assert_eq!(missing, Some(&MissingScope("ZohoCliq.Messages.READ")));
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn thread(chat: &str, time: &str) -> Value {
    json!({
        "chat_id": chat, "parent_chat_id": "CT_1", "title": "Release",
        "last_message_information": { "time": time, "sender_id": "64800201" },
    })
}

#[tokio::test]
async fn changed_threads_are_read() {
    let (server, cliq) = cliq().await;
    let iso = |seconds: i64| {
        (now() - TimeDelta::seconds(seconds))
            .format("%FT%TZ")
            .to_string()
    };
    let threads = [
        thread("CT_1-T-1", &iso(60)),
        thread("CT_1-T-2", &iso(10_000)),
        thread("CT_1-T-3", &iso(60)),
    ];
    respond(
        &server,
        "channels/T1/threads",
        200,
        json!({ "data": threads }),
    )
    .await;
    hold(
        &server,
        world(&[
            ("CT_1-T-1", vec![ago(9_000), ago(60)]),
            ("CT_1-T-2", vec![ago(10_000)]),
            ("CT_1-T-3", vec![ago(61)]),
        ]),
    )
    .await;
    let mut read =
        json!({ "floor": floor().timestamp_millis(), "read_to": ago(600), "pass": null });
    let pages = read_all(&cliq, "threads:T1", &active_at(0), Some(read.take())).await;
    assert_eq!(keys(&pages), texts(&[ago(60), ago(61)]));
    assert_eq!(pages.len(), 3, "the list and two threads");
    let signal = pages
        .iter()
        .flat_map(|page| &page.signals)
        .next()
        .expect("a Signal");
    assert_eq!(signal.kind.as_str(), "thread_replied");
    assert_eq!(signal.normalized["thread"], "CT_1");
    assert_eq!(signal.context.name.as_deref(), Some("Release"));

    let pages = read_all(&cliq, "threads:T1", &active_at(0), None).await;
    assert_eq!(keys(&pages).len(), 4, "the first read finds all");
    let query = &queries(&server, "channels/T1/threads").await[0];
    assert_eq!(query, "state=all&limit=100");
}

#[tokio::test]
async fn denied_thread_does_not_hold_the_others() {
    let (server, cliq) = cliq().await;
    let threads = json!({ "data": [thread("CT_1-T-1", "2027-01-15T08:00:00Z"),
        thread("CT_1-T-2", "2027-01-15T08:00:00Z")], "next_token": "" });
    respond(&server, "channels/T1/threads", 200, threads).await;
    respond(
        &server,
        "chats/CT_1-T-2/messages",
        403,
        json!({ "code": "chat_access_denied" }),
    )
    .await;
    hold(&server, world(&[("CT_1-T-1", vec![ago(60)])])).await;
    let pages = read_all(&cliq, "threads:T1", &active_at(0), None).await;
    assert_eq!(keys(&pages), texts(&[ago(60)]));
    let last = pages.last().expect("a page");
    assert_eq!(last.denied_part, Some("messages in threads"));
}

#[tokio::test]
async fn rejected_token_of_a_list_restarts_it() {
    let (server, cliq) = cliq().await;
    respond(
        &server,
        "channels/T1/threads",
        400,
        json!({ "code": "invalid_token_value" }),
    )
    .await;
    let pass = json!({ "from": 0, "to": ago(0), "next": "a-token" });
    let cursor = json!({ "floor": 0, "read_to": null, "pass": pass });
    let result = cliq
        .sync(request("threads:T1", Value::Null, Some(cursor)))
        .await;
    assert!(
        matches!(result, Err(ConnectorError::CursorExpired(_))),
        "{result:?}"
    );
    let result = cliq.sync(request("threads:T1", Value::Null, None)).await;
    assert!(
        matches!(result, Err(ConnectorError::Permanent(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn missing_name_of_an_author_costs_no_page() {
    let (server, cliq) = cliq().await;
    let mut row = message(ago(60), 1);
    row["sender"] = json!({ "id": "64800203" });
    respond(
        &server,
        "chats/CT_1/messages",
        200,
        json!({ "data": [row] }),
    )
    .await;
    let locked = json!({ "code": "request_limit_exceeded" });
    respond(&server, "users/64800203", 400, locked).await;
    let page = cliq
        .sync(request("chat:CT_1", Value::Null, None))
        .await
        .expect("a page");
    assert_eq!(
        (page.signals.len(), &page.signals[0].actor.name),
        (1, &None)
    );
}
