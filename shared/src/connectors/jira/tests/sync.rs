//! Cursors and answers whose numbers are as large, or as small, as numbers can be.

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, ResponseTemplate};

use super::{access, jira, now};
use crate::connectors::{Connector, StreamSpec, SyncPage, SyncRequest};

/// Reads the page behind a cursor from a server that answers this to everything.
async fn page(stream: &str, cursor: Value, answer: Value) -> SyncPage {
    let (server, jira, _) = jira().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(&server)
        .await;
    let request = SyncRequest {
        access: access(),
        stream: StreamSpec {
            key: stream.to_owned(),
            resource_id: None,
            target: Value::Null,
        },
        cursor: Some(cursor),
        horizon: now(),
        until: now(),
        bulk: None,
        directory: std::sync::Arc::default(),
    };
    jira.sync(request).await.expect("a page")
}

#[tokio::test]
async fn numbers_at_their_ends_are_numbers_like_others() {
    let longest = json!({ "floor": i64::MIN, "high": i64::MIN });
    page("issues", longest, json!({ "issues": [] })).await;
    let earliest = json!({ "floor": i64::MIN, "since": i64::MIN });
    let answer = json!({ "values": [], "until": i64::MIN, "lastPage": true });
    page("worklogs", earliest, answer).await;

    let rows = json!({ "values": [{ "id": 1, "type": "kanban" }], "isLast": false });
    let last = |boards| json!({ "keys": [], "start": usize::MAX, "boards": boards });
    page("projects", last(false), rows.clone()).await;
    page("projects", last(true), rows).await;
    let none = json!({ "values": [{ "id": 1, "state": "future" }], "isLast": false });
    let sprints = json!({ "floor": now(), "start": usize::MAX });
    page("sprints:7", sprints, none.clone()).await;
}
