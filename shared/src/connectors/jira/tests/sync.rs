//! Polling against a mock server: extreme numbers, page sizes, partial and denied lists.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{any, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Jira, access, jira, now};
use crate::connectors::{Connector, SyncPage, SyncRequest};
use crate::model::{StreamSpec, TimestampSource};

/// Reads the page after a cursor from a server with one response for all requests.
pub(super) async fn page(stream: &str, cursor: Value, response: Value) -> SyncPage {
    let (server, jira, _) = jira().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(response))
        .mount(&server)
        .await;
    read(&jira, stream, Some(cursor), now()).await
}

/// Reads the first page of a stream, with facts since `backfill_from`.
pub(super) async fn first_page(
    jira: &Jira,
    stream: &str,
    backfill_from: DateTime<Utc>,
) -> SyncPage {
    read(jira, stream, None, backfill_from).await
}

async fn read(
    jira: &Jira,
    stream: &str,
    cursor: Option<Value>,
    backfill_from: DateTime<Utc>,
) -> SyncPage {
    let page = jira.sync(request(stream, cursor, backfill_from)).await;
    page.expect("a page")
}

pub(super) fn request(
    stream: &str,
    cursor: Option<Value>,
    backfill_from: DateTime<Utc>,
) -> SyncRequest {
    SyncRequest {
        access: access(),
        stream: StreamSpec {
            key: stream.to_owned(),
            resource_id: None,
            target: Value::Null,
        },
        cursor,
        backfill_from,
        upper_bound: now(),
        resync_from: None,
        reconcile_from: None,
        failures: 0,
        priority: crate::http::Priority::Poll,
        directory: std::sync::Arc::default(),
    }
}

#[tokio::test]
async fn extreme_numbers_do_not_panic() {
    let lowest = json!({ "floor": i64::MIN, "high": i64::MIN });
    page("issues", lowest, json!({ "issues": [] })).await;
    let earliest = json!({ "floor": i64::MIN, "since": i64::MIN });
    let response = json!({ "values": [], "until": i64::MIN, "lastPage": true });
    page("worklogs", earliest, response).await;

    let rows = json!({ "values": [{ "id": 1, "type": "kanban" }], "isLast": false });
    let last = |boards| json!({ "keys": [], "start": usize::MAX, "in_boards": boards });
    page("projects", last(false), rows.clone()).await;
    page("projects", last(true), rows).await;
    let none = json!({ "values": [{ "id": 1, "state": "future" }], "isLast": false });
    let sprints = json!({ "floor": now(), "start": usize::MAX });
    page("sprints:7", sprints, none.clone()).await;
}

#[tokio::test]
async fn resync_reads_recent_changes_and_keeps_floor() {
    let (server, jira, _) = jira().await;
    let listed = json!({ "issues": [], "values": [], "until": 0, "lastPage": true });
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(listed))
        .mount(&server)
        .await;
    let floor = now() - chrono::TimeDelta::days(30);
    let resync_from = now() - chrono::TimeDelta::days(7);
    for stream in ["issues", "worklogs"] {
        let restart = SyncRequest {
            resync_from: Some(resync_from),
            ..request(stream, None, floor)
        };
        let page = jira.sync(restart).await.expect("a page");
        assert_eq!(page.cursor["floor"], floor.timestamp_millis(), "{stream}");
    }
    let requests = server.received_requests().await.expect("requests");
    let search: Value = requests[0].body_json().expect("JSON");
    let from = (resync_from - chrono::TimeDelta::minutes(10)).timestamp_millis();
    let jql = search["jql"].as_str().expect("a search");
    assert!(jql.starts_with(&format!("updated >= {from} ")), "{jql}");
    let since = format!("since={}", resync_from.timestamp_millis());
    assert_eq!(requests[1].url.query(), Some(since.as_str()));
}

#[tokio::test]
async fn first_pass_skips_versions_released_before_floor() {
    let version = |id: u64, released: bool, day: Option<&str>| {
        json!({ "id": id.to_string(), "name": "1.0", "projectId": 7, "released": released,
                "releaseDate": day })
    };
    let (server, jira, _) = jira().await;
    let response = json!({ "isLast": true, "values": [
        version(1, false, None), version(2, false, Some("2020-01-01")),
        version(3, true, Some("2020-01-01")), version(4, true, None),
        version(5, true, Some("2023-11-01")),
    ] });
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(response))
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

    // Later passes emit all changes.
    server.reset().await;
    let response = json!({ "isLast": true, "values": [
        version(1, true, Some("2020-01-01")), version(3, true, Some("2020-01-01")),
        version(6, true, None),
    ] });
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(response))
        .mount(&server)
        .await;
    let page = read(&jira, "versions:7", Some(page.cursor), floor).await;
    assert_eq!(keys(&page), ["1:released", "6:created", "6:released"]);
}

#[tokio::test]
async fn repeated_failures_halve_the_page_size() {
    let boards = json!({ "keys": [], "start": 0, "in_boards": true });
    for (stream, cursor, sizes) in [
        (
            "projects",
            json!({ "keys": [], "start": 50, "in_boards": false }),
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
            let request = SyncRequest {
                failures,
                ..request(stream, Some(cursor.clone()), now())
            };
            jira.sync(request).await.expect_err("a page that fails");
        }
        let requests = server.received_requests().await.expect("requests");
        assert_eq!(requests.len(), 2, "{stream}");
        for (request, size) in requests.iter().zip(sizes) {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let in_query = request
                .url
                .query_pairs()
                .find(|(name, _)| name == "maxResults");
            let requested =
                in_query.map_or_else(|| body["maxResults"].to_string(), |(_, size)| size.into());
            assert_eq!(requested, size.to_string(), "{stream}");
        }
    }
}

/// Mounts a response for requests whose path ends with `end`.
async fn mock_path(server: &MockServer, end: &str, response: ResponseTemplate) {
    Mock::given(path_regex(format!("{end}$")))
        .respond_with(response)
        .mount(server)
        .await;
}

/// Reads the root stream after a cursor to its end, with these projects and boards.
async fn read_root(projects: Value, boards: ResponseTemplate, cursor: Option<Value>) -> SyncPage {
    let (server, jira, _) = jira().await;
    let statuses = ResponseTemplate::new(200).set_body_json(json!([]));
    mock_path(&server, "/rest/api/3/status", statuses).await;
    mock_path(&server, "/rest/api/3/project/search", listed(&projects)).await;
    mock_path(&server, "/rest/agile/1.0/board", boards).await;
    let first = read(&jira, "projects", cursor, now()).await;
    assert!(first.has_more, "the boards follow");
    let last = read(&jira, "projects", Some(first.cursor), now()).await;
    assert!(!last.has_more);
    last
}

fn listed(rows: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "values": rows, "isLast": true }))
}

fn streams(page: &SyncPage) -> Vec<&str> {
    let streams = page.streams.iter();
    streams.map(|stream| stream.key.as_str()).collect()
}

fn subscribed(page: &SyncPage) -> Vec<&Value> {
    let subscriptions = page.subscriptions.iter();
    subscriptions
        .map(|subscription| &subscription.target["projects"])
        .collect()
}

#[tokio::test]
async fn unreadable_project_or_board_makes_the_list_partial() {
    let both = json!([{ "id": "1", "key": "ENG" }, { "id": "2", "key": "OPS" }]);
    let board = json!([{ "id": 7, "type": "scrum" }]);
    let whole = read_root(both.clone(), listed(&board), None).await;
    assert!(!whole.is_list_partial);
    assert_eq!(streams(&whole), ["sprints:7"]);

    let unreadable = json!([{ "id": "1", "key": "ENG" }, { "id": "2", "key": {} }]);
    let partial = read_root(unreadable, listed(&board), Some(whole.cursor.clone())).await;
    assert!(partial.is_list_partial);
    assert_eq!(
        subscribed(&partial),
        [&json!(["ENG", "OPS"])],
        "the webhook still covers the project"
    );
    let unreadable = listed(&json!([{ "id": {} }]));
    let partial = read_root(both.clone(), unreadable, Some(partial.cursor)).await;
    assert!(partial.is_list_partial);

    let fewer = json!([{ "id": "1", "key": "ENG" }]);
    let next = read_root(fewer, listed(&json!([])), Some(partial.cursor)).await;
    assert!(!next.is_list_partial);
    assert_eq!(subscribed(&next), [&json!(["ENG"])]);
}

#[tokio::test]
async fn denied_boards_keep_their_streams() {
    let projects = json!([{ "id": "1", "key": "ENG" }]);
    let board = json!([{ "id": 7, "type": "scrum" }, { "id": 8, "type": "kanban" }]);
    let whole = read_root(projects.clone(), listed(&board), None).await;
    let scope = ResponseTemplate::new(401)
        .set_body_json(json!({ "message": "Unauthorized; scope does not match" }));
    let mut cursor = whole.cursor;
    for denial in [
        scope,
        ResponseTemplate::new(400),
        ResponseTemplate::new(401),
        ResponseTemplate::new(403),
        ResponseTemplate::new(404),
        ResponseTemplate::new(410),
    ] {
        let page = read_root(projects.clone(), denial, Some(cursor)).await;
        assert_eq!(streams(&page), ["boards", "sprints:7"]);
        assert!(!page.is_list_partial, "the list of projects is whole");
        cursor = page.cursor;
    }
    let page = read_root(projects.clone(), listed(&board), Some(cursor)).await;
    assert_eq!(streams(&page), ["sprints:7"]);

    let without_software = ResponseTemplate::new(404);
    let page = read_root(projects, without_software.clone(), None).await;
    assert!(page.streams.is_empty(), "a site without Jira Software");
    let software = json!([{ "id": "1", "key": "ENG", "projectTypeKey": "software" }]);
    let page = read_root(software, without_software, None).await;
    assert_eq!(streams(&page), ["boards"], "its boards are hidden");
}

#[tokio::test]
async fn boards_stream_reports_the_denial() {
    for (status, code) in [(400, "permission"), (403, "permission"), (502, "transient")] {
        let (server, jira, _) = jira().await;
        mock_path(
            &server,
            "/rest/agile/1.0/board",
            ResponseTemplate::new(status),
        )
        .await;
        let result = jira.sync(request("boards", None, now())).await;
        assert_eq!(result.expect_err("an error").code(), code, "{status}");
    }
}
