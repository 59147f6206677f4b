//! Reading lists, against a server.

use std::sync::Arc;

use chrono::DateTime;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{account, now, slack};
use crate::connectors::{
    Access, Connector, DirectoryKey, DirectoryKind, StreamSpec, SyncPage, SyncRequest,
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

/// A page of a stream, which reads the past since `horizon` seconds after 1970.
async fn page(slack: &super::Slack, stream: &str, horizon: i64, cursor: Option<Value>) -> SyncPage {
    let request = SyncRequest {
        access: access(),
        stream: StreamSpec {
            key: stream.to_owned(),
            resource_id: None,
            target: json!({}),
        },
        cursor,
        horizon: DateTime::from_timestamp(horizon, 0).expect("a moment"),
        until: now(),
        bulk: Some(TenantId::UNASSIGNED),
        directory: Arc::default(),
    };
    slack.sync(request).await.expect("a page")
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
