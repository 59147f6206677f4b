//! The root stream and the stream of created channels.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use wiremock::matchers::{path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::sync::{ago, hold, queries, read_all, respond, scope_rejected, world};
use super::{cliq, now, request};
use crate::connectors::{Connector, ConnectorError, SyncPage};

fn iso(milliseconds: i64) -> String {
    let at = DateTime::from_timestamp_millis(milliseconds).expect("a time");
    at.format("%FT%TZ").to_string()
}

fn channel(number: usize, created: i64, active: i64) -> Value {
    json!({
        "channel_id": format!("T{number}"), "chat_id": format!("CT_{number}"),
        "name": format!("#channel-{number}"), "unique_name": format!("channel{number}"),
        "creation_time": iso(created), "last_modified_time": iso(created),
        "last_message_info": { "time": iso(active) }, "creator_id": "64800201",
    })
}

fn chat(number: usize, active: i64) -> Value {
    json!({
        "chat_id": format!("22300000{number}"), "name": "Grace Hopper", "chat_type": "dm",
        "last_modified_time": iso(active),
    })
}

fn streams(pages: &[SyncPage]) -> BTreeSet<&str> {
    let listed = pages.iter().flat_map(|page| &page.streams);
    listed.map(|stream| stream.key.as_str()).collect()
}

fn target<'p>(pages: &'p [SyncPage], key: &str) -> &'p Value {
    let mut listed = pages.iter().flat_map(|page| &page.streams);
    let stream = listed.find(|stream| stream.key == key);
    &stream.expect("a stream").target
}

#[tokio::test]
async fn root_lists_channels_chats_and_threads() {
    let (server, cliq) = cliq().await;
    let first = json!({ "channels": [channel(1, ago(90_000), ago(60))], "has_more": true, "next_token": "n" });
    let second = json!({ "channels": [channel(2, ago(80_000), ago(70))], "has_more": false, "next_token": "x" });
    Mock::given(path("/eu/api/v2/channels"))
        .and(query_param_is_missing("next_token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(first))
        .mount(&server)
        .await;
    Mock::given(path("/eu/api/v2/channels"))
        .and(query_param("next_token", "n"))
        .respond_with(ResponseTemplate::new(200).set_body_json(second))
        .mount(&server)
        .await;
    let mut group = chat(4, ago(40));
    group["chat_type"] = json!("group_chat");
    let mut left = chat(5, ago(40));
    left["removed"] = json!(true);
    let mut listed_elsewhere = chat(6, ago(40));
    listed_elsewhere["chat_type"] = json!("channel");
    let chats = json!({ "chats": [chat(3, ago(30)), group, left, listed_elsewhere] });
    respond(&server, "chats", 200, chats).await;

    let pages = read_all(&cliq, "chats", &Value::Null, None).await;
    let expected = [
        "channels",
        "chat:223000003",
        "chat:223000004",
        "chat:CT_1",
        "chat:CT_2",
        "threads:T1",
        "threads:T2",
    ];
    assert_eq!(streams(&pages), BTreeSet::from(expected));
    assert!(pages.iter().all(|page| !page.is_list_partial));
    let seconds = |seconds: i64| ago(seconds) / 1_000 * 1_000;
    assert_eq!(target(&pages, "chat:CT_1")["active_at"], seconds(60));
    assert_eq!(target(&pages, "chat:223000003")["active_at"], seconds(30));
    assert_eq!(
        queries(&server, "channels").await,
        [
            "joined=true&limit=100",
            "joined=true&limit=100&next_token=n"
        ]
    );
    let title = pages.iter().flat_map(|page| &page.directory_updates);
    assert!(title.clone().any(|entry| entry.key.id == "CT_1"));
}

/// Answers requests for chats: those before the bound, newest first or oldest first.
async fn hold_chats(server: &MockServer, chats: &'static [i64], is_newest_first: bool) {
    Mock::given(path("/eu/api/v2/chats"))
        .respond_with(move |request: &Request| {
            let bound = |name: &str| -> Option<i64> {
                let mut pairs = request.url.query_pairs();
                pairs.find(|(key, _)| key == name)?.1.parse().ok()
            };
            let (after, before) = (bound("modified_after"), bound("modified_before"));
            let mut rows: Vec<(usize, i64)> = chats.iter().copied().enumerate().collect();
            rows.retain(|(_, time)| {
                after.is_none_or(|after| *time > after)
                    && before.is_none_or(|before| *time < before)
            });
            rows.sort_by_key(|(_, time)| if is_newest_first { -time } else { *time });
            let rows = rows.into_iter().take(100);
            let rows: Vec<Value> = rows.map(|(number, time)| chat(number, time)).collect();
            ResponseTemplate::new(200).set_body_json(json!({ "chats": rows }))
        })
        .mount(server)
        .await;
    respond(server, "channels", 200, json!({ "channels": [] })).await;
}

fn times(count: i64) -> &'static [i64] {
    let times: Vec<i64> = (0..count).map(|number| ago(number * 600 + 30)).collect();
    Box::leak(times.into_boxed_slice())
}

#[tokio::test]
async fn every_chat_is_listed_in_either_order() {
    for is_newest_first in [true, false] {
        let (server, cliq) = cliq().await;
        hold_chats(&server, times(350), is_newest_first).await;
        let pages = read_all(&cliq, "chats", &Value::Null, None).await;
        assert_eq!(streams(&pages).len(), 351);
        assert_eq!(pages.len(), 5, "one page of channels and four of chats");
        assert!(!pages.last().expect("a page").is_list_partial);
    }
}

#[tokio::test]
async fn list_that_ignores_its_bounds_ends() {
    for is_newest_first in [true, false] {
        let (server, cliq) = cliq().await;
        let mut rows: Vec<Value> = (0..100)
            .map(|number| chat(number, ago(i64::try_from(number).expect("a number") * 600)))
            .collect();
        if !is_newest_first {
            rows.reverse();
        }
        respond(&server, "chats", 200, json!({ "chats": rows })).await;
        respond(&server, "channels", 200, json!({ "channels": [] })).await;
        let pages = read_all(&cliq, "chats", &Value::Null, None).await;
        assert_eq!(streams(&pages).len(), 101);
        assert!(pages.last().expect("a page").is_list_partial);
    }
}

#[tokio::test]
async fn run_reads_only_changed_chats() {
    let (server, cliq) = cliq().await;
    hold_chats(&server, times(350), true).await;
    let pages = read_all(&cliq, "chats", &Value::Null, None).await;
    let cursor = pages.last().expect("a page").cursor.clone();
    let pages = read_all(&cliq, "chats", &Value::Null, Some(cursor.clone())).await;
    assert_eq!(pages.len(), 2);
    assert!(pages[1].is_list_partial, "the other streams stay");

    let mut joined = cursor.clone();
    joined["digest"] = json!(7);
    let pages = read_all(&cliq, "chats", &Value::Null, Some(joined)).await;
    assert!(
        !pages.last().expect("a page").is_list_partial,
        "other channels"
    );

    let mut next_day = request("chats", Value::Null, Some(cursor));
    next_day.upper_bound = now() + TimeDelta::hours(25);
    let page = cliq.sync(next_day).await.expect("a page");
    let mut next_day = request("chats", Value::Null, Some(page.cursor));
    next_day.upper_bound = now() + TimeDelta::hours(25);
    let page = cliq.sync(next_day).await.expect("a page");
    assert!(
        page.has_more && !page.is_list_partial,
        "the whole list again"
    );
}

#[tokio::test]
async fn interrupted_run_is_read_to_its_beginning() {
    let (server, cliq) = cliq().await;
    hold_chats(&server, times(3), true).await;
    let first = cliq.sync(request("chats", Value::Null, None)).await;
    let mut later = request("chats", Value::Null, Some(first.expect("a page").cursor));
    later.upper_bound = now() + TimeDelta::hours(1);
    let last = cliq.sync(later).await.expect("a page");
    assert!(!last.has_more);
    assert_eq!(last.cursor["read_to"], ago(0));
}

#[tokio::test]
async fn rejected_scope_leaves_out_its_list_only() {
    let (server, cliq) = cliq().await;
    respond(&server, "channels", 401, scope_rejected()).await;
    respond(
        &server,
        "chats",
        200,
        json!({ "chats": [chat(1, ago(30))] }),
    )
    .await;
    let pages = read_all(&cliq, "chats", &Value::Null, None).await;
    assert_eq!(
        streams(&pages),
        BTreeSet::from(["channels", "chat:223000001"])
    );
    assert!(pages.last().expect("a page").is_list_partial);

    server.reset().await;
    respond(
        &server,
        "channels",
        200,
        json!({ "channels": [channel(1, 0, 0)] }),
    )
    .await;
    respond(&server, "chats", 401, scope_rejected()).await;
    let pages = read_all(&cliq, "chats", &Value::Null, None).await;
    assert_eq!(
        streams(&pages),
        BTreeSet::from(["channels", "chat:CT_1", "threads:T1"])
    );

    server.reset().await;
    respond(&server, "channels", 401, scope_rejected()).await;
    respond(&server, "chats", 401, scope_rejected()).await;
    let page = cliq
        .sync(request("chats", Value::Null, None))
        .await
        .expect("a page");
    let result = cliq
        .sync(request("chats", Value::Null, Some(page.cursor)))
        .await;
    assert!(
        matches!(result, Err(ConnectorError::Denied { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn known_rejected_scope_is_not_called() {
    let (server, cliq) = cliq().await;
    respond(&server, "chats", 200, json!({ "chats": [] })).await;
    let mut request = request("chats", Value::Null, None);
    request.access.account.settings["rejected_scopes"] = json!(["ZohoCliq.Channels.READ"]);
    let page = cliq.sync(request).await.expect("a page");
    assert!(page.has_more && page.is_list_partial);
    assert_eq!(queries(&server, "channels").await.len(), 0);
}

#[tokio::test]
async fn channels_are_read_again_if_set_changed() {
    let (server, cliq) = cliq().await;
    let mut digests = Vec::new();
    let mut cursor = None;
    let lists: [&[usize]; 4] = [&[1, 2], &[2, 1], &[1, 2, 3], &[1, 2, 3]];
    for (numbers, calls) in lists.into_iter().zip([1, 0, 1, 0]) {
        server.reset().await;
        let numbers = numbers.iter();
        let channels: Vec<Value> = numbers
            .map(|number| channel(*number, ago(90), ago(60)))
            .collect();
        respond(&server, "channels", 200, json!({ "channels": channels })).await;
        respond(&server, "chats", 200, json!({ "chats": [] })).await;
        let pages = read_all(&cliq, "chats", &Value::Null, None).await;
        let target = target(&pages, "channels").clone();
        digests.push(target["digest"].clone());
        let page = cliq
            .sync(request("channels", target, cursor))
            .await
            .expect("a page");
        assert_eq!(queries(&server, "channels").await.len(), 1 + calls);
        assert_eq!(page.signals.is_empty(), calls == 0);
        cursor = Some(page.cursor);
    }
    assert_eq!(digests[0], digests[1], "in any order");
    assert_ne!(digests[1], digests[2]);
}

#[tokio::test]
async fn channels_seen_during_read_are_read_again() {
    let (server, cliq) = cliq().await;
    let of = |digest: &str| json!({ "digest": digest });
    let first = json!({ "channels": [channel(1, ago(90), 0)], "next_token": "n" });
    respond(&server, "channels", 200, first).await;
    let first = cliq.sync(request("channels", of("a"), None)).await;
    let cursor = first.expect("a page").cursor;
    server.reset().await;
    let last = json!({ "channels": [channel(2, ago(80), 0)], "has_more": false });
    respond(&server, "channels", 200, last).await;
    let last = cliq.sync(request("channels", of("b"), Some(cursor))).await;
    let last = last.expect("a page");
    assert!(!last.has_more);
    assert_eq!(last.cursor["digest"], "a");
    let again = cliq
        .sync(request("channels", of("b"), Some(last.cursor)))
        .await;
    assert_eq!(again.expect("a page").signals.len(), 1);
}

#[tokio::test]
async fn repeated_page_of_channels_is_an_error() {
    let (server, cliq) = cliq().await;
    let page = json!({ "channels": [channel(1, 0, 0)], "has_more": true, "next_token": "n" });
    respond(&server, "channels", 200, page).await;
    for stream in ["chats", "channels"] {
        let first = cliq.sync(request(stream, Value::Null, None)).await;
        let cursor = first.expect("a page").cursor;
        let second = cliq.sync(request(stream, Value::Null, Some(cursor))).await;
        assert!(
            matches!(second, Err(ConnectorError::Permanent(_))),
            "{stream}: {second:?}"
        );
    }
}

#[tokio::test]
async fn list_of_threads_ends_without_a_new_token() {
    let old = json!({ "chat_id": "CT_1-T-1", "last_message_information": { "time": iso(0) } });
    for (last, calls) in [(json!([old]), 2), (json!([]), 1)] {
        let (server, cliq) = cliq().await;
        let threads = json!({ "data": last, "next_token": "a" });
        respond(&server, "channels/T1/threads", 200, threads).await;
        let pages = read_all(&cliq, "threads:T1", &Value::Null, None).await;
        assert_eq!(pages.len(), calls);
    }
}

#[tokio::test]
async fn threads_are_read_after_their_whole_list() {
    let (server, cliq) = cliq().await;
    let page = |chat: &str, next: &str| {
        let thread =
            json!({ "chat_id": chat, "last_message_information": { "time": iso(ago(60)) } });
        ResponseTemplate::new(200).set_body_json(json!({ "data": [thread], "next_token": next }))
    };
    let list = "/eu/api/v2/channels/T1/threads";
    Mock::given(path(list))
        .and(query_param_is_missing("next_token"))
        .respond_with(page("CT_1-T-1", "n"))
        .mount(&server)
        .await;
    Mock::given(path(list))
        .and(query_param("next_token", "n"))
        .respond_with(page("CT_1-T-2", ""))
        .mount(&server)
        .await;
    hold(
        &server,
        world(&[("CT_1-T-1", vec![ago(60)]), ("CT_1-T-2", vec![ago(60)])]),
    )
    .await;
    let pages = read_all(&cliq, "threads:T1", &Value::Null, None).await;
    let counts: Vec<usize> = pages.iter().map(|page| page.signals.len()).collect();
    assert_eq!(counts, [0, 0, 1, 1]);
}

#[tokio::test]
async fn ids_of_lists_are_spelled_as_in_deliveries() {
    let (server, cliq) = cliq().await;
    let active = ago(60);
    let spelled = |number: usize, separator: &str| {
        let mut row = channel(number, ago(9_000), active);
        row["channel_id"] = json!(format!(" O{number}"));
        row["chat_id"] = json!(format!("CT{separator}{number}{separator}7"));
        row
    };
    let rows = [spelled(1, "%20"), spelled(2, " "), spelled(3, "_")];
    respond(&server, "channels", 200, json!({ "channels": rows })).await;
    let chats = [("%20", "dm"), (" ", "direct_message"), ("_", "group_chat")];
    let rows = chats.iter().enumerate().map(|(number, (separator, kind))| {
        let mut row = chat(number, active);
        row["chat_id"] = json!(format!("CT{separator}9{number} "));
        row["chat_type"] = json!(kind);
        row
    });
    let rows: Vec<Value> = rows.collect();
    respond(&server, "chats", 200, json!({ "chats": rows })).await;
    let pages = read_all(&cliq, "chats", &json!({}), None).await;
    let mut expected: BTreeSet<&str> = ["chat:CT_90", "chat:CT_91", "chat:CT_92"].into();
    expected.extend(["chat:CT_1_7", "chat:CT_2_7", "chat:CT_3_7"]);
    expected.extend(["threads:O1", "threads:O2", "threads:O3", "channels"]);
    assert_eq!(streams(&pages), expected);

    let spelled = json!({ "chat_id": "CT%201%207-T-8",
        "last_message_information": { "time": active } });
    respond(
        &server,
        "channels/O1/threads",
        200,
        json!({ "data": [spelled] }),
    )
    .await;
    hold(&server, world(&[("CT_1_7-T-8", vec![active])])).await;
    let pages = read_all(&cliq, "threads:O1", &json!({}), None).await;
    let signals: Vec<_> = pages.iter().flat_map(|page| &page.signals).collect();
    assert_eq!(signals.len(), 1);
    let key = format!("zoho_cliq:message:CT_1_7-T-8:{active}");
    assert_eq!(signals[0].dedupe_key, key);
    assert_eq!(signals[0].normalized["thread"], "CT_1_7");
}

#[tokio::test]
async fn unreadable_row_ends_no_stream() {
    let (server, cliq) = cliq().await;
    let channels = json!({ "channels": [channel(1, 0, 0), { "channel_id": "T2" }, "T3"] });
    respond(&server, "channels", 200, channels).await;
    respond(
        &server,
        "chats",
        200,
        json!({ "chats": [{ "name": "Grace" }] }),
    )
    .await;
    let pages = read_all(&cliq, "chats", &Value::Null, None).await;
    let unreadable = pages.iter().map(|page| page.unreadable_rows.len());
    assert_eq!(unreadable.sum::<usize>(), 3);
    assert!(pages.last().expect("a page").is_list_partial);
}

#[tokio::test]
async fn list_without_rows_is_an_error() {
    let (server, cliq) = cliq().await;
    for (stream, at) in [
        ("chats", "channels"),
        ("channels", "channels"),
        ("chat:CT_1", "chats/CT_1/messages"),
        ("threads:T1", "channels/T1/threads"),
    ] {
        respond(&server, at, 200, json!({ "surprise": [] })).await;
        let result = cliq.sync(request(stream, Value::Null, None)).await;
        assert!(
            matches!(result, Err(ConnectorError::Permanent(_))),
            "{stream}: {result:?}"
        );
    }
}
