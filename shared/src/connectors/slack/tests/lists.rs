//! Reading lists, against a server.

use std::sync::Arc;

use chrono::DateTime;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{account, now, slack};
use crate::connectors::{Access, Connector, StreamSpec, SyncPage, SyncRequest};

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
        bulk: true,
        directory: Arc::default(),
    };
    slack.sync(request).await.expect("a page")
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
