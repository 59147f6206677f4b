//! The first read: its beginning, its pages and its end.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::sync::{calls, floor, history, hold_messages, keys, read, request, respond, set};
use super::{connector_with_clock, gmail, now};
use crate::clock::ManualClock;
use crate::connectors::{Connector, SyncRequest};

/// A list of `total` messages, one per minute, in pages of the requested size.
fn list(request: &Request, total: usize) -> Value {
    let pairs: Vec<_> = request.url.query_pairs().collect();
    let number = |name: &str| -> Option<usize> {
        let (_, value) = pairs.iter().find(|(key, _)| key == name)?;
        value.parse().ok()
    };
    let start = number("pageToken").unwrap_or(0);
    let end = total.min(start + number("maxResults").expect("a size"));
    let ids = (start..end).map(|minutes| json!({ "id": format!("m{minutes}"), "threadId": "t" }));
    let mut body = json!({ "messages": ids.collect::<Vec<_>>() });
    if end < total {
        body["nextPageToken"] = json!(end.to_string());
    }
    body
}

#[tokio::test]
async fn position_is_read_before_the_list() {
    let (server, gmail) = gmail(&[]).await;
    hold_messages(&server).await;
    let profile = json!({ "emailAddress": "ada@acme.example", "historyId": 1234 });
    respond(&server, "profile", 200, profile).await;
    let old = format!("m{}", TimeDelta::days(31).num_minutes());
    let list = json!({ "messages": [{ "id": "m5" }, { "id": old }, { "id": "gone" }] });
    respond(&server, "messages", 200, list).await;
    let page = read(&gmail, None).await;
    assert_eq!(calls(&server).await[..2], ["profile", "messages"]);
    assert_eq!(keys(&page), set(&["m5"]));
    assert!(!page.has_more);
    // Not the position of a message, which is that of its last change.
    assert_eq!(page.cursor["history"], "1234");
}

#[tokio::test]
async fn first_read_searches_with_readonly_only() {
    for (scope, search) in [
        ("metadata", None),
        (
            "readonly",
            Some(format!("after:{}", floor().timestamp() - 1)),
        ),
    ] {
        let (server, gmail) = gmail(&[("GMAIL_SCOPE", scope)]).await;
        respond(&server, "profile", 200, json!({ "historyId": "1" })).await;
        respond(&server, "messages", 200, json!({ "resultSizeEstimate": 0 })).await;
        read(&gmail, None).await;
        let requests = server.received_requests().await.expect("requests");
        let mut query = requests[1].url.query_pairs().into_owned();
        assert_eq!(
            query.find(|(name, _)| name == "q").map(|(_, value)| value),
            search
        );
    }
}

#[tokio::test]
async fn resync_keeps_floor() {
    let (server, gmail) = gmail(&[("GMAIL_SCOPE", "readonly")]).await;
    hold_messages(&server).await;
    respond(&server, "profile", 200, json!({ "historyId": "1" })).await;
    let age = |days| TimeDelta::days(days).num_minutes();
    // A page that lies before the lower bound ends the list.
    let list = json!({ "messages": [{ "id": format!("m{}", age(8)) }], "nextPageToken": "n" });
    respond(&server, "messages", 200, list).await;
    let resync_from = now() - TimeDelta::days(7);
    let restart = SyncRequest {
        resync_from: Some(resync_from),
        ..request("messages", None)
    };
    let page = gmail.sync(restart).await.expect("a page");
    assert!(page.cursor["backfill"].is_null(), "{}", page.cursor);
    let requests = server.received_requests().await.expect("requests");
    let search = format!("after:{}", resync_from.timestamp() - 1);
    let mut query = requests[1].url.query_pairs();
    assert!(query.any(|(name, value)| name == "q" && value == search));
    // Mail with an earlier time since the floor is a fact, whenever it arrives.
    let (since, before) = (format!("m{}", age(29)), format!("m{}", age(31)));
    let rest = json!({ "historyId": "2" });
    respond(&server, "history", 200, history(&[&since, &before], &rest)).await;
    let page = read(&gmail, Some(page.cursor)).await;
    assert_eq!(keys(&page), set(&[&since]));
}

#[tokio::test]
async fn first_read_resumes_and_follows_new_mail() {
    const TOTAL: usize = 1_000;
    let server = MockServer::start().await;
    let clock = Arc::new(ManualClock::new(now()));
    let gmail = connector_with_clock(&server.uri(), &[], clock.clone());
    hold_messages(&server).await;
    respond(&server, "profile", 200, json!({ "historyId": "1" })).await;
    Mock::given(method("GET"))
        .and(path("/gmail/v1/users/me/messages"))
        .respond_with(|request: &Request| {
            ResponseTemplate::new(200).set_body_json(list(request, TOTAL))
        })
        .mount(&server)
        .await;
    // A message arrives at every position of the history.
    Mock::given(method("GET"))
        .and(path("/gmail/v1/users/me/history"))
        .respond_with(|request: &Request| {
            let start = request
                .url
                .query_pairs()
                .find(|(name, _)| name == "startHistoryId");
            let start: u64 = start.expect("a position").1.parse().expect("a number");
            let id = format!("m-{start}");
            let rest = json!({ "historyId": (start + 1).to_string() });
            ResponseTemplate::new(200).set_body_json(history(&[&id], &rest))
        })
        .mount(&server)
        .await;
    let (mut at, mut found, mut pages, mut progress) = (None, BTreeSet::new(), 0, 0.0);
    loop {
        // Nothing but the cursor remains between two pages.
        let page = read(&gmail, at.take()).await;
        assert!(page.signals.len() <= 101 && page.cursor.to_string().len() < 250);
        assert!(
            page.progress >= progress,
            "{} after {progress}",
            page.progress
        );
        progress = page.progress;
        found.extend(keys(&page));
        pages += 1;
        at = Some(page.cursor);
        if !page.has_more {
            break;
        }
        // Two pages per minute: every other page reads the history.
        clock.advance(TimeDelta::seconds(30));
    }
    let new = found.iter().filter(|id| id.starts_with("m-")).count();
    assert_eq!((pages, new, found.len() - new), (11, 5, TOTAL));
    let last = read(&gmail, at).await;
    assert_eq!(keys(&last), set(&["m-6"]));
}

#[tokio::test]
async fn first_read_ends_behind_the_floor() {
    let (server, gmail) = gmail(&[]).await;
    hold_messages(&server).await;
    respond(&server, "profile", 200, json!({ "historyId": "1" })).await;
    let old = TimeDelta::days(31).num_minutes();
    // A page with one message behind the floor is not the last one.
    let ids: Vec<Value> = [1, old, 2]
        .map(|minutes| json!({ "id": format!("m{minutes}") }))
        .into();
    respond(
        &server,
        "messages",
        200,
        json!({ "messages": ids, "nextPageToken": "n" }),
    )
    .await;
    let page = read(&gmail, None).await;
    assert!(page.has_more);
    server.reset().await;
    hold_messages(&server).await;
    let ids: Vec<Value> = [old, old + 1]
        .map(|minutes| json!({ "id": format!("m{minutes}") }))
        .into();
    respond(
        &server,
        "messages",
        200,
        json!({ "messages": ids, "nextPageToken": "n" }),
    )
    .await;
    let page = read(&gmail, Some(page.cursor)).await;
    assert!(page.signals.is_empty() && page.cursor["backfill"].is_null());
    // The run ends with what has arrived since the history was last read.
    assert!(page.has_more);
    respond(
        &server,
        "history",
        200,
        history(&["m1"], &json!({ "historyId": "2" })),
    )
    .await;
    let page = read(&gmail, Some(page.cursor)).await;
    assert!(!page.has_more);
    assert_eq!(keys(&page), set(&["m1"]));
}
