//! Reading lists, against a server.

use std::sync::Arc;

use chrono::DateTime;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{account, now, slack};
use crate::connectors::{
    Access, Connector, DirectoryKey, DirectoryKind, Resource, StreamSpec, SyncPage, SyncRequest,
};
use crate::ids::TenantId;

async fn answers(server: &MockServer, name: &str, answer: Value) {
    Mock::given(path(format!("/api/{name}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(server)
        .await;
}

fn access() -> Access {
    Access {
        account: account(),
        token: "xoxb-1".into(),
        person: None,
    }
}

/// A request for a page of a stream, which reads the past since `horizon` seconds after 1970.
fn request(stream: &str, horizon: i64, cursor: Option<Value>) -> SyncRequest {
    SyncRequest {
        access: access(),
        stream: StreamSpec {
            key: stream.to_owned(),
            resource_id: None,
            target: json!({}),
        },
        cursor,
        horizon: DateTime::from_timestamp(horizon, 0).expect("a moment"),
        until: now(),
        reconcile_from: None,
        failures: 0,
        priority: crate::http::Priority::Backfill(TenantId::UNASSIGNED),
        directory: Arc::default(),
    }
}

async fn page(slack: &super::Slack, stream: &str, horizon: i64, cursor: Option<Value>) -> SyncPage {
    let page = slack.sync(request(stream, horizon, cursor)).await;
    page.expect("a page")
}

#[tokio::test]
async fn a_row_that_cannot_be_read_holds_up_no_other() {
    let (server, slack, _) = slack().await;
    let channels = json!({
        "ok": true, "response_metadata": null,
        "channels": [{ "id": "C0GENERAL", "name": "general" }, "C0WORD", { "name": "nameless" }],
    });
    answers(&server, "users.conversations", channels).await;
    let people = json!({
        "ok": true, "members": ["ada", { "id": "U0BOB", "name": "bob" }, null],
    });
    answers(&server, "users.list", people).await;
    let first = page(&slack, "conversations", 0, None).await;
    let streams: Vec<&str> = first
        .streams
        .iter()
        .map(|found| found.key.as_str())
        .collect();
    assert_eq!(streams, ["messages:C0GENERAL", "channels"]);
    let second = page(&slack, "conversations", 0, Some(first.cursor)).await;
    let learned: Vec<&str> = second
        .learned
        .iter()
        .map(|entry| entry.key.id.as_str())
        .collect();
    assert_eq!(learned, ["U0BOB"]);
}

#[tokio::test]
async fn a_past_that_begins_with_time_itself_is_read() {
    let (server, slack, _) = slack().await;
    let parent = json!({ "ts": "1600000000.000100", "text": "Up?", "reply_count": 1 });
    let history = json!({ "ok": true, "has_more": false, "messages": [parent] });
    answers(&server, "conversations.history", history).await;
    let reply = json!({ "ts": "1600000001.000100", "thread_ts": "1600000000.000100" });
    let replies = json!({ "ok": true, "has_more": false, "messages": [parent, reply] });
    answers(&server, "conversations.replies", replies).await;
    let first = page(&slack, "messages:C0GENERAL", 0, None).await;
    let second = page(&slack, "messages:C0GENERAL", 0, Some(first.cursor)).await;
    let kinds: Vec<&str> = second.signals.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds, ["thread_replied"]);
}

#[tokio::test]
async fn a_bot_without_a_name_has_none() {
    let (server, slack, _) = slack().await;
    let bot = json!({ "ok": true, "bot": { "id": "B1", "name": "" } });
    answers(&server, "bots.info", bot).await;
    let keys = [DirectoryKey::new(DirectoryKind::Bot, "B1")];
    let found = slack.look_up(&access(), &keys).await.expect("entries");
    assert_eq!(found[0].name, None);
}

#[tokio::test]
async fn a_channel_is_shown_under_its_present_id_alone() {
    for (answer, shown) in [
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
        answers(&server, "conversations.info", answer.clone()).await;
        let asked = slack.has_resource(&access(), "C1").await.ok();
        assert_eq!(asked, shown, "{answer}");
    }
}

#[tokio::test]
async fn a_channel_is_known_again_by_who_made_it_and_when() {
    let (server, slack, _) = slack().await;
    let made = |id: &str| json!({ "id": id, "created": 1_600_000_000, "creator": "U0ADA" });
    let channels = json!({ "ok": true, "channels": [made("G01"), made("C01"), made("C02")] });
    answers(&server, "users.conversations", channels).await;
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

    let info = json!({ "ok": true, "channel": made("C01") });
    answers(&server, "conversations.info", info).await;
    let keys = [DirectoryKey::new(DirectoryKind::Channel, "C01")];
    let found = slack.look_up(&access(), &keys).await.expect("entries");
    assert_eq!(Resource::of_entry(&found[0]).as_ref(), resources.get(1));
}

#[tokio::test]
async fn page_that_always_fails_is_asked_for_in_halves() {
    for (stream, limits) in [
        ("conversations", ["limit=500", "limit=250"]),
        ("channels", ["limit=500", "limit=250"]),
        ("messages:C0GENERAL", ["limit=200", "limit=100"]),
    ] {
        let (server, slack, _) = slack().await;
        for failures in 1..=2 {
            let asked = SyncRequest {
                failures,
                ..request(stream, 0, None)
            };
            slack.sync(asked).await.expect_err("nothing answers");
        }
        let asked = server.received_requests().await.expect("requests");
        for (request, limit) in asked.iter().zip(limits) {
            let body = String::from_utf8_lossy(&request.body);
            assert!(body.contains(limit), "{stream}: {body}");
        }
        assert_eq!(asked.len(), 2, "{stream}");
    }
}

/// Reads the root to its end; answers whether its list is partial, and the rows that could not be
/// read.
async fn read_root(slack: &super::Slack, organization: bool) -> (bool, usize) {
    let (mut unreadable, mut cursor) = (0, None);
    loop {
        let mut request = request("conversations", 0, cursor);
        request.access.account.settings["organization"] = json!(organization);
        let page = slack.sync(request).await.expect("a page");
        unreadable += page.unreadable_rows.len();
        if !page.more {
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
        answers(&server, "users.conversations", list).await;
        answers(&server, "users.list", json!({ "ok": true, "members": [] })).await;
        let list = json!({ "ok": true, "teams": teams });
        answers(&server, "auth.teams.list", list).await;
        assert_eq!(
            read_root(&slack, true).await,
            expected,
            "{channels} {teams}"
        );
    }
}

#[tokio::test]
async fn answer_without_its_list_is_no_empty_list() {
    let (server, slack, _) = slack().await;
    answers(&server, "users.conversations", json!({ "ok": true })).await;
    let refused = slack.sync(request("conversations", 0, None)).await;
    assert_eq!(refused.expect_err("no list").code(), "permanent");
}
