//! Polling of lists, against a mock server.

use std::sync::Arc;

use chrono::DateTime;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{account, now, slack};
use crate::connectors::{Access, Connector, SyncPage, SyncRequest};
use crate::model::{DirectoryKey, DirectoryKind, Resource, StreamSpec, TenantId};

async fn mock_method(server: &MockServer, name: &str, response: Value) {
    Mock::given(path(format!("/api/{name}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(response))
        .mount(server)
        .await;
}

fn access() -> Access {
    Access {
        account: account(),
        token: "xoxb-1".into(),
        user_token: None,
    }
}

/// Builds a request for a page, with a backfill from `backfill_from` in seconds since 1970.
fn request(stream: &str, backfill_from: i64, cursor: Option<Value>) -> SyncRequest {
    SyncRequest {
        access: access(),
        stream: StreamSpec {
            key: stream.to_owned(),
            resource_id: None,
            target: json!({}),
        },
        cursor,
        backfill_from: DateTime::from_timestamp(backfill_from, 0).expect("a timestamp"),
        upper_bound: now(),
        resync_from: None,
        reconcile_from: None,
        failures: 0,
        priority: crate::http::Priority::Backfill(TenantId::UNASSIGNED),
        directory: Arc::default(),
    }
}

async fn page(
    slack: &super::Slack,
    stream: &str,
    backfill_from: i64,
    cursor: Option<Value>,
) -> SyncPage {
    let page = slack.sync(request(stream, backfill_from, cursor)).await;
    page.expect("a page")
}

#[tokio::test]
async fn unreadable_row_does_not_block_others() {
    let (server, slack, _) = slack().await;
    let channels = json!({
        "ok": true, "response_metadata": null,
        "channels": [{ "id": "C0GENERAL", "name": "general" }, "C0WORD", { "name": "nameless" }],
    });
    mock_method(&server, "users.conversations", channels).await;
    let people = json!({
        "ok": true, "members": ["ada", { "id": "U0BOB", "name": "bob" }, null],
    });
    mock_method(&server, "users.list", people).await;
    let first = page(&slack, "conversations", 0, None).await;
    let streams: Vec<&str> = first
        .streams
        .iter()
        .map(|found| found.key.as_str())
        .collect();
    assert_eq!(streams, ["messages:C0GENERAL", "channels"]);
    let second = page(&slack, "conversations", 0, Some(first.cursor)).await;
    let directory_updates: Vec<&str> = second
        .directory_updates
        .iter()
        .map(|entry| entry.key.id.as_str())
        .collect();
    assert_eq!(directory_updates, ["U0BOB"]);
}

#[tokio::test]
async fn backfill_from_the_epoch_is_read() {
    let (server, slack, _) = slack().await;
    let parent = json!({ "ts": "1600000000.000100", "text": "Up?", "reply_count": 1 });
    let history = json!({ "ok": true, "has_more": false, "messages": [parent] });
    mock_method(&server, "conversations.history", history).await;
    let reply = json!({ "ts": "1600000001.000100", "thread_ts": "1600000000.000100" });
    let replies = json!({ "ok": true, "has_more": false, "messages": [parent, reply] });
    mock_method(&server, "conversations.replies", replies).await;
    let first = page(&slack, "messages:C0GENERAL", 0, None).await;
    let second = page(&slack, "messages:C0GENERAL", 0, Some(first.cursor)).await;
    let kinds: Vec<&str> = second.signals.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds, ["thread_replied"]);
}

#[tokio::test]
async fn resync_ends_at_last_read_and_keeps_floor() {
    let (server, slack, _) = slack().await;
    let at = |days: i64| now().timestamp() - days * 86_400;
    let message =
        |days: i64| json!({ "ts": format!("{}.000100", at(days)), "user": "U1", "text": "Up?" });
    let history = json!({ "ok": true, "has_more": true, "messages": [message(1), message(8)] });
    mock_method(&server, "conversations.history", history).await;
    let restart = SyncRequest {
        resync_from: DateTime::from_timestamp(at(7), 0),
        ..request("messages:C0GENERAL", at(30), None)
    };
    let page = slack.sync(restart).await.expect("a page");
    assert!(!page.has_more, "the page reaches the last read");
    assert_eq!(page.signals.len(), 1);
    assert_eq!(page.cursor["floor"], format!("{}.000000", at(30)));
}

#[tokio::test]
async fn bot_without_name_has_no_name() {
    let (server, slack, _) = slack().await;
    let bot = json!({ "ok": true, "bot": { "id": "B1", "name": "" } });
    mock_method(&server, "bots.info", bot).await;
    let keys = [DirectoryKey::new(DirectoryKind::Bot, "B1")];
    let found = slack
        .resolve_directory(&access(), &keys)
        .await
        .expect("entries");
    assert_eq!(found[0].name, None);
}

#[tokio::test]
async fn has_resource_accepts_current_channel_id_only() {
    for (response, expected) in [
        (json!({ "ok": true, "channel": { "id": "C1" } }), Some(true)),
        (
            json!({ "ok": true, "channel": { "id": "C2" } }),
            Some(false),
        ),
        (
            json!({ "ok": false, "error": "channel_not_found" }),
            Some(false),
        ),
        (json!({ "ok": false, "error": "missing_scope" }), Some(true)),
        (json!({ "ok": false, "error": "internal_error" }), None),
    ] {
        let (server, slack, _) = slack().await;
        mock_method(&server, "conversations.info", response.clone()).await;
        let found = slack.has_resource(&access(), "C1").await.ok();
        assert_eq!(found, expected, "{response}");
    }
}

#[tokio::test]
async fn stable_ids_survive_channel_id_change() {
    let (server, slack, _) = slack().await;
    let channel = |id: &str| json!({ "id": id, "created": 1_600_000_000, "creator": "U0ADA" });
    let channels =
        json!({ "ok": true, "channels": [channel("G01"), channel("C01"), channel("C02")] });
    mock_method(&server, "users.conversations", channels).await;
    let first = page(&slack, "conversations", 0, None).await;
    let resources: Vec<Resource> = first
        .streams
        .iter()
        .filter_map(Resource::of_stream)
        .collect();
    assert_eq!(resources.len(), 3);
    assert_eq!(resources[0].stable_ids, resources[1].stable_ids);
    assert_eq!(resources[0].stable_ids[1..], resources[2].stable_ids[1..]);
    assert_ne!(resources[0].stable_ids[0], resources[2].stable_ids[0]);

    let info = json!({ "ok": true, "channel": channel("C01") });
    mock_method(&server, "conversations.info", info).await;
    let keys = [DirectoryKey::new(DirectoryKind::Channel, "C01")];
    let found = slack
        .resolve_directory(&access(), &keys)
        .await
        .expect("entries");
    assert_eq!(Resource::of_entry(&found[0]).as_ref(), resources.get(1));
}

#[tokio::test]
async fn repeated_failures_halve_the_page_size() {
    for (stream, limits) in [
        ("conversations", ["limit=500", "limit=250"]),
        ("channels", ["limit=500", "limit=250"]),
        ("messages:C0GENERAL", ["limit=200", "limit=100"]),
    ] {
        let (server, slack, _) = slack().await;
        for failures in 1..=2 {
            let request = SyncRequest {
                failures,
                ..request(stream, 0, None)
            };
            slack.sync(request).await.expect_err("no mock responds");
        }
        let requests = server.received_requests().await.expect("requests");
        for (request, limit) in requests.iter().zip(limits) {
            let body = String::from_utf8_lossy(&request.body);
            assert!(body.contains(limit), "{stream}: {body}");
        }
        assert_eq!(requests.len(), 2, "{stream}");
    }
}

/// Reads the root stream; returns whether its list is partial, and its unreadable rows.
async fn read_root(slack: &super::Slack, organization: bool) -> (bool, usize) {
    let (mut unreadable, mut cursor) = (0, None);
    loop {
        let mut request = request("conversations", 0, cursor);
        request.access.account.settings["organization"] = json!(organization);
        let page = slack.sync(request).await.expect("a page");
        unreadable += page.unreadable_rows.len();
        if !page.has_more {
            return (page.is_list_partial, unreadable);
        }
        cursor = Some(page.cursor);
    }
}

#[tokio::test]
async fn unreadable_channel_or_workspace_makes_the_list_partial() {
    let good = json!({ "id": "C0GENERAL", "name": "general" });
    for (channels, teams, expected) in [
        (json!([good]), json!([{ "id": "T1" }]), (false, 0)),
        (
            json!([good, { "id": {} }]),
            json!([{ "id": "T1" }]),
            (true, 1),
        ),
        (
            json!([good]),
            json!([{ "id": {} }, { "id": "T1" }]),
            (true, 1),
        ),
        (json!([good]), json!([{ "id": {} }]), (true, 1)),
    ] {
        let (server, slack, _) = slack().await;
        let list = json!({ "ok": true, "channels": channels });
        mock_method(&server, "users.conversations", list).await;
        mock_method(&server, "users.list", json!({ "ok": true, "members": [] })).await;
        let list = json!({ "ok": true, "teams": teams });
        mock_method(&server, "auth.teams.list", list).await;
        assert_eq!(
            read_root(&slack, true).await,
            expected,
            "{channels} {teams}"
        );
    }
}

#[tokio::test]
async fn response_without_list_is_an_error() {
    let (server, slack, _) = slack().await;
    mock_method(&server, "users.conversations", json!({ "ok": true })).await;
    let page = slack.sync(request("conversations", 0, None)).await;
    assert_eq!(page.expect_err("no list").code(), "permanent");
}

/// A thread that Slack never returns is skipped, and holds the reconciliation back.
#[tokio::test]
async fn failing_thread_does_not_stop_the_channel() {
    let (server, slack, _) = slack().await;
    let parent = json!({
        "type": "message", "user": "U0ADA", "text": "who knows?", "ts": "1699999000.000100",
        "thread_ts": "1699999000.000100", "reply_count": 1, "latest_reply": "1699999100.000100",
    });
    let history = json!({ "ok": true, "messages": [parent], "has_more": false });
    mock_method(&server, "conversations.history", history).await;
    let failure = json!({ "ok": false, "error": "internal_error" });
    mock_method(&server, "conversations.replies", failure).await;
    let first = page(&slack, "messages:C0GENERAL", 1_699_990_000, None).await;
    assert!(first.has_more, "the thread follows");
    let thread = request("messages:C0GENERAL", 1_699_990_000, Some(first.cursor));
    let early = slack.sync(thread.clone()).await.expect_err("an error");
    assert_eq!(early.code(), "transient");
    let failures = 6;
    let skipped = slack.sync(SyncRequest { failures, ..thread }).await;
    let skipped = skipped.expect("a page");
    assert!(!skipped.has_more);
    assert_eq!(skipped.failing_part, Some("replies in threads"));
}

#[tokio::test]
async fn page_without_position_is_an_error() {
    let (server, slack, _) = slack().await;
    let history = json!({ "ok": true, "messages": ["a", { "ts": {} }], "has_more": true });
    mock_method(&server, "conversations.history", history).await;
    let result = slack.sync(request("messages:C0GENERAL", 0, None)).await;
    assert_eq!(result.expect_err("an error").code(), "permanent");
}

/// Messages from before the floor show which threads have replies since then.
#[tokio::test]
async fn full_walk_goes_back_to_old_threads() {
    let (server, slack, _) = slack().await;
    let floor = 1_699_990_000;
    let parent = json!({
        "type": "message", "user": "U0ADA", "text": "who knows?", "ts": "1699900000.000100",
        "thread_ts": "1699900000.000100", "reply_count": 1, "latest_reply": "1699999100.000100",
    });
    let history = json!({ "ok": true, "messages": [parent], "has_more": false });
    mock_method(&server, "conversations.history", history).await;
    let first = page(&slack, "messages:C0GENERAL", floor, None).await;
    assert!(
        first.signals.is_empty(),
        "the parent is older than the floor"
    );
    assert!(first.has_more, "the thread follows");
    let requests = server.received_requests().await.expect("requests");
    let body = String::from_utf8_lossy(&requests[0].body);
    let oldest = floor - chrono::TimeDelta::days(90).num_seconds();
    assert!(body.contains(&format!("oldest={oldest}.")), "{body}");
}
