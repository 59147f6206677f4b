//! Cursors and answers whose numbers are as large, or as small, as numbers can be.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, ResponseTemplate};

use super::{Jira, access, jira, now};
use crate::connectors::{Connector, StreamSpec, SyncPage, SyncRequest};
use crate::signals::TimestampSource;

/// Reads the page behind a cursor from a server that answers this to everything.
async fn page(stream: &str, cursor: Value, answer: Value) -> SyncPage {
    let (server, jira, _) = jira().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(&server)
        .await;
    read(&jira, stream, Some(cursor), now()).await
}

/// Reads the first page of a stream, whose facts are told from `horizon` on.
pub(super) async fn first_page(jira: &Jira, stream: &str, horizon: DateTime<Utc>) -> SyncPage {
    read(jira, stream, None, horizon).await
}

async fn read(
    jira: &Jira,
    stream: &str,
    cursor: Option<Value>,
    horizon: DateTime<Utc>,
) -> SyncPage {
    let page = jira.sync(request(stream, cursor, horizon)).await;
    page.expect("a page")
}

fn request(stream: &str, cursor: Option<Value>, horizon: DateTime<Utc>) -> SyncRequest {
    SyncRequest {
        access: access(),
        stream: StreamSpec {
            key: stream.to_owned(),
            resource_id: None,
            target: Value::Null,
        },
        cursor,
        horizon,
        until: now(),
        reconcile_from: None,
        failures: 0,
        priority: crate::http::Priority::Poll,
        directory: std::sync::Arc::default(),
    }
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

#[tokio::test]
async fn versions_count_unless_they_were_released_before_the_floor() {
    let version = |id: u64, released: bool, day: Option<&str>| {
        json!({ "id": id.to_string(), "name": "1.0", "projectId": 7, "released": released,
                "releaseDate": day })
    };
    let (server, jira, _) = jira().await;
    let answer = json!({ "isLast": true, "values": [
        version(1, false, None), version(2, false, Some("2020-01-01")),
        version(3, true, Some("2020-01-01")), version(4, true, None),
        version(5, true, Some("2023-11-01")),
    ] });
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(&server)
        .await;
    let keys = |page: &SyncPage| -> Vec<String> {
        let all = page.signals.iter().map(|signal| &signal.dedupe_key);
        all.map(|key| key.replace("jira:cloud-1:version:", ""))
            .collect()
    };
    let floor = now() - chrono::TimeDelta::days(30);
    let page = first_page(&jira, "versions:7", floor).await;
    assert_eq!(
        keys(&page),
        ["1:created", "2:created", "5:created", "5:released"]
    );
    assert!(page.signals.iter().all(|signal| {
        signal.timestamp == now() && signal.timestamp_source == TimestampSource::Received
    }));

    // Everything that comes later counts.
    server.reset().await;
    let answer = json!({ "isLast": true, "values": [
        version(1, true, Some("2020-01-01")), version(3, true, Some("2020-01-01")),
        version(6, true, None),
    ] });
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(&server)
        .await;
    let page = read(&jira, "versions:7", Some(page.cursor), floor).await;
    assert_eq!(keys(&page), ["1:released", "6:created", "6:released"]);
}

#[tokio::test]
async fn page_that_always_fails_is_asked_for_in_halves() {
    let boards = json!({ "keys": [], "start": 0, "boards": true });
    for (stream, cursor, sizes) in [
        (
            "projects",
            json!({ "keys": [], "start": 50, "boards": false }),
            [50, 25],
        ),
        ("projects", boards, [50, 25]),
        ("versions:7", Value::Null, [100, 50]),
        ("sprints:7", Value::Null, [50, 25]),
        ("issues", Value::Null, [100, 50]),
    ] {
        let (server, jira, _) = jira().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(502).set_body_string("<html>"))
            .mount(&server)
            .await;
        for failures in 1..=2 {
            let asked = SyncRequest {
                failures,
                ..request(stream, Some(cursor.clone()), now())
            };
            jira.sync(asked).await.expect_err("a page that fails");
        }
        let asked = server.received_requests().await.expect("requests");
        assert_eq!(asked.len(), 2, "{stream}");
        for (request, size) in asked.iter().zip(sizes) {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let in_query = request
                .url
                .query_pairs()
                .find(|(name, _)| name == "maxResults");
            let asked =
                in_query.map_or_else(|| body["maxResults"].to_string(), |(_, size)| size.into());
            assert_eq!(asked, size.to_string(), "{stream}");
        }
    }
}
