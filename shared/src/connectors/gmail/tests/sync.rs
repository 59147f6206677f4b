//! Polling against a mock server that holds a mailbox.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{Gmail, SUB, TOPIC, access, gmail, now};
use crate::connectors::{Connector, ConnectorError, SyncPage, SyncRequest};
use crate::http::Priority;
use crate::model::StreamSpec;

pub(super) fn request(stream: &str, cursor: Option<Value>) -> SyncRequest {
    SyncRequest {
        access: access(),
        stream: StreamSpec {
            key: stream.to_owned(),
            resource_id: None,
            target: Value::Null,
        },
        cursor,
        backfill_from: floor(),
        upper_bound: now(),
        resync_from: None,
        reconcile_from: None,
        failures: 0,
        priority: Priority::Poll,
        directory: Arc::default(),
    }
}

/// The time before which messages are not facts.
pub(super) fn floor() -> DateTime<Utc> {
    now() - TimeDelta::days(30)
}

pub(super) async fn read(gmail: &Gmail, cursor: Option<Value>) -> SyncPage {
    let page = gmail.sync(request("messages", cursor)).await;
    page.expect("a page")
}

/// A message that arrived this many minutes ago.
fn message(id: &str, minutes: i64) -> Value {
    let at = now() - TimeDelta::minutes(minutes);
    json!({
        "id": id, "threadId": id, "labelIds": ["INBOX"], "historyId": "999999",
        "internalDate": at.timestamp_millis().to_string(),
        "payload": { "headers": [{ "name": "From", "value": "Grace <grace@navy.example>" }] },
    })
}

/// Serves messages: their ids are `m` and their age in minutes; `gone` is deleted.
pub(super) async fn hold_messages(server: &MockServer) {
    Mock::given(method("GET"))
        .and(path_regex("^/gmail/v1/users/me/messages/.+$"))
        .respond_with(|request: &Request| {
            let id = request.url.path().rsplit('/').next().unwrap_or_default();
            match id
                .strip_prefix('m')
                .and_then(|minutes| minutes.parse().ok())
            {
                Some(minutes) => ResponseTemplate::new(200).set_body_json(message(id, minutes)),
                None => ResponseTemplate::new(404).set_body_json(not_found()),
            }
        })
        .mount(server)
        .await;
}

fn not_found() -> Value {
    json!({ "error": { "code": 404, "message": "Requested entity was not found.",
        "errors": [{ "domain": "global", "reason": "notFound" }], "status": "NOT_FOUND" } })
}

pub(super) async fn respond(server: &MockServer, at: &str, status: u16, body: Value) {
    Mock::given(method("GET"))
        .and(path(format!("/gmail/v1/users/me/{at}")))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

pub(super) fn history(ids: &[&str], rest: &Value) -> Value {
    let added = ids
        .iter()
        .map(|id| json!({ "message": { "id": id, "labelIds": ["INBOX"] } }));
    let mut body =
        json!({ "history": [{ "id": "1", "messagesAdded": added.collect::<Vec<_>>() }] });
    for (name, value) in rest.as_object().expect("fields") {
        body[name] = value.clone();
    }
    body
}

/// The last parts of the requests' paths, in order.
pub(super) async fn calls(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.expect("requests");
    let name = |request: &Request| request.url.path().rsplit('/').next().map(str::to_owned);
    requests.iter().filter_map(name).collect()
}

pub(super) fn keys(page: &SyncPage) -> BTreeSet<String> {
    let prefix = format!("gmail:{SUB}:message:");
    let keys = page
        .signals
        .iter()
        .map(|signal| signal.dedupe_key.replace(&prefix, ""));
    keys.collect()
}

pub(super) fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// A cursor behind the first read.
fn cursor(history: &str) -> Value {
    json!({ "floor": floor(), "history": history })
}

#[tokio::test]
async fn root_lists_messages_and_watch() {
    for (settings, watches) in [(&[][..], 0), (&[("GMAIL_TOPIC", TOPIC)][..], 1)] {
        let (server, gmail) = gmail(settings).await;
        let profile = json!({ "emailAddress": "ada@acme.example", "historyId": "1" });
        respond(&server, "profile", 200, profile).await;
        let page = gmail.sync(request("mailbox", None)).await.expect("a page");
        let streams: Vec<&str> = page
            .streams
            .iter()
            .map(|stream| stream.key.as_str())
            .collect();
        assert_eq!(streams, ["messages"]);
        assert_eq!(page.subscriptions.len(), watches);
        assert!(!page.has_more && !page.is_list_partial);
    }
}

#[tokio::test]
async fn expired_history_restarts_the_stream() {
    let (server, gmail) = gmail(&[]).await;
    respond(&server, "history", 404, not_found()).await;
    let result = gmail.sync(request("messages", Some(cursor("1")))).await;
    assert!(
        matches!(result, Err(ConnectorError::CursorExpired(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn rejected_page_token_restarts_the_stream() {
    let (server, gmail) = gmail(&[]).await;
    let reason = |reason: &str| json!({ "error": { "code": 400, "errors": [{ "domain": "global", "reason": reason }] } });
    respond(&server, "history", 400, reason("invalidArgument")).await;
    let result = gmail.sync(request("messages", Some(cursor("1")))).await;
    assert!(
        matches!(result, Err(ConnectorError::CursorExpired(_))),
        "{result:?}"
    );
    server.reset().await;
    respond(&server, "history", 400, reason("failedPrecondition")).await;
    let result = gmail.sync(request("messages", Some(cursor("1")))).await;
    assert!(
        matches!(result, Err(ConnectorError::Permanent(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn deleted_message_does_not_hold_the_position() {
    let (server, gmail) = gmail(&[]).await;
    hold_messages(&server).await;
    let rest = json!({ "historyId": "77" });
    respond(
        &server,
        "history",
        200,
        history(&["m1", "gone", "m2"], &rest),
    )
    .await;
    let page = read(&gmail, Some(cursor("1"))).await;
    assert_eq!(keys(&page), set(&["m1", "m2"]));
    assert_eq!(page.cursor["history"], "77");
    assert!(page.unreadable_rows.is_empty() && !page.has_more);
}

#[tokio::test]
async fn empty_pages_with_tokens_are_followed() {
    let (server, gmail) = gmail(&[]).await;
    hold_messages(&server).await;
    Mock::given(method("GET"))
        .and(path("/gmail/v1/users/me/history"))
        .respond_with(|request: &Request| {
            let pairs: Vec<_> = request.url.query_pairs().collect();
            let value = |name: &str| {
                pairs
                    .iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| &**value)
            };
            assert_eq!(value("startHistoryId"), Some("1"), "the position stays");
            ResponseTemplate::new(200).set_body_json(match value("pageToken") {
                None => json!({ "nextPageToken": "second", "historyId": "77" }),
                Some("second") => json!({ "nextPageToken": "third" }),
                Some(_) => history(&["m3"], &json!({ "historyId": "78" })),
            })
        })
        .mount(&server)
        .await;
    let (mut at, mut found, mut pages) = (Some(cursor("1")), BTreeSet::new(), 0);
    loop {
        let page = read(&gmail, at.take()).await;
        found.extend(keys(&page));
        pages += 1;
        if !page.has_more {
            assert_eq!(page.cursor["history"], "78");
            break;
        }
        assert_eq!(page.cursor["history"], "1");
        at = Some(page.cursor);
    }
    assert_eq!((pages, found), (3, set(&["m3"])));
}

#[tokio::test]
async fn response_without_position_keeps_the_last_one() {
    let (server, gmail) = gmail(&[]).await;
    respond(&server, "history", 200, history(&["m1"], &json!({}))).await;
    respond(&server, "messages/m1", 200, message("m1", 1)).await;
    let page = read(&gmail, Some(cursor("5"))).await;
    assert_eq!(page.cursor["history"], "5");
    assert_eq!((page.has_more, page.signals.len()), (false, 1));
}

#[tokio::test]
async fn failed_message_fails_the_page() {
    let (server, gmail) = gmail(&[]).await;
    respond(
        &server,
        "history",
        200,
        history(&["m1", "m2"], &json!({ "historyId": "77" })),
    )
    .await;
    respond(&server, "messages/m1", 200, message("m1", 1)).await;
    respond(&server, "messages/m2", 500, json!({})).await;
    let result = gmail.sync(request("messages", Some(cursor("1")))).await;
    assert!(
        matches!(result, Err(ConnectorError::Transient(_))),
        "{result:?}"
    );
}

/// A message that Gmail never returns costs itself, if Gmail returns others.
#[tokio::test]
async fn message_that_always_fails_is_skipped() {
    for (status, failures) in [(500, 6), (403, 0), (400, 0)] {
        let (server, gmail) = gmail(&[]).await;
        let page = history(&["m1", "m2"], &json!({ "historyId": "77" }));
        respond(&server, "history", 200, page).await;
        respond(&server, "messages/m1", 200, message("m1", 1)).await;
        respond(&server, "messages/m2", status, json!({})).await;
        let mut request = request("messages", Some(cursor("1")));
        request.failures = failures;
        let page = gmail.sync(request).await.expect("a page");
        assert_eq!(page.signals.len(), 1, "{status}");
        assert_eq!(
            page.unreadable_rows[0].id.as_deref(),
            Some("m2"),
            "{status}"
        );
        assert_eq!(page.cursor["history"], "77", "{status}");
    }
}

/// While every message fails, none is skipped.
#[tokio::test]
async fn outage_skips_no_message() {
    for status in [500, 403] {
        let (server, gmail) = gmail(&[]).await;
        let page = history(&["m1", "m2"], &json!({ "historyId": "77" }));
        respond(&server, "history", 200, page).await;
        for id in ["m1", "m2"] {
            respond(&server, &format!("messages/{id}"), status, json!({})).await;
        }
        let mut request = request("messages", Some(cursor("1")));
        request.failures = 20;
        let result = gmail.sync(request).await;
        assert!(result.is_err(), "{status}: {result:?}");
    }
}

/// A response without the documented fields is not an empty page.
#[tokio::test]
async fn other_json_is_no_empty_page() {
    let (server, gmail) = gmail(&[]).await;
    respond(&server, "history", 200, json!({ "surprise": [] })).await;
    let result = gmail.sync(request("messages", Some(cursor("1")))).await;
    assert!(
        matches!(result, Err(ConnectorError::Permanent(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn page_of_another_server_deletes_no_message() {
    let (server, gmail) = gmail(&[]).await;
    respond(
        &server,
        "history",
        200,
        history(&["m1"], &json!({ "historyId": "77" })),
    )
    .await;
    Mock::given(path("/gmail/v1/users/me/messages/m1"))
        .respond_with(ResponseTemplate::new(404).set_body_string("<html>not here</html>"))
        .mount(&server)
        .await;
    let result = gmail.sync(request("messages", Some(cursor("1")))).await;
    assert!(
        matches!(result, Err(ConnectorError::Denied { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn unreadable_message_costs_one_row() {
    let (server, gmail) = gmail(&[]).await;
    respond(
        &server,
        "history",
        200,
        history(&["m1", "m2"], &json!({ "historyId": "77" })),
    )
    .await;
    respond(&server, "messages/m1", 200, json!({ "id": "m1" })).await;
    respond(&server, "messages/m2", 200, message("m2", 2)).await;
    let page = read(&gmail, Some(cursor("1"))).await;
    assert_eq!(keys(&page), set(&["m2"]));
    assert_eq!(page.unreadable_rows[0].id.as_deref(), Some("m1"));
}

#[tokio::test]
async fn only_headers_are_asked_for() {
    let (server, gmail) = gmail(&[]).await;
    hold_messages(&server).await;
    respond(
        &server,
        "history",
        200,
        history(&["m1"], &json!({ "historyId": "77" })),
    )
    .await;
    read(&gmail, Some(cursor("1"))).await;
    let requests = server.received_requests().await.expect("requests");
    let query: Vec<_> = requests[1].url.query_pairs().into_owned().collect();
    let value = |name: &str| {
        query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(value("format"), Some("metadata"));
    let fields = value("fields").expect("fields");
    assert!(
        !fields.contains("snippet") && !fields.contains("body"),
        "{fields}"
    );
    let headers = query
        .iter()
        .filter(|(name, _)| name == "metadataHeaders")
        .count();
    assert_eq!(headers, 7);
}

#[tokio::test]
async fn content_of_mail_is_not_kept() {
    let (server, gmail) = gmail(&[]).await;
    let rest = json!({ "historyId": "77" });
    respond(&server, "history", 200, history(&["m1", "m2"], &rest)).await;
    let mut whole = message("m1", 1);
    whole["snippet"] = json!("Dear");
    whole["payload"]["body"] = json!({ "data": "Dear" });
    respond(&server, "messages/m1", 200, whole.clone()).await;
    // A row that is not readable is kept for operators.
    whole["internalDate"] = Value::Null;
    respond(&server, "messages/m2", 200, whole).await;
    let page = read(&gmail, Some(cursor("1"))).await;
    assert_eq!((page.signals.len(), page.unreadable_rows.len()), (1, 1));
    for text in [page.signals[0].raw.get(), &page.unreadable_rows[0].row] {
        assert!(!text.contains("Dear") && text.contains("Grace"), "{text}");
    }
}

#[tokio::test]
async fn reconciliation_makes_no_call() {
    let (server, gmail) = gmail(&[]).await;
    let request = SyncRequest {
        reconcile_from: Some(floor()),
        ..request("messages", None)
    };
    let page = gmail.sync(request).await.expect("a page");
    assert!(!page.has_more && page.signals.is_empty());
    assert_eq!(calls(&server).await, [""; 0]);
}
