//! Tests of the search for updates.

use chrono::Duration;
use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param_contains};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::stamp;
use crate::connectors::github::GitHub;
use crate::connectors::github::tests::{github, now};
use crate::connectors::{Connector, ConnectorError, ObservedUpdate, SyncPage};
use crate::model::StreamSpec;

async fn mount_repositories(server: &MockServer, count: u64) {
    let rows: Vec<Value> = (1..=count)
        .map(|id| json!({ "id": id, "full_name": format!("Octo-Org/r{id}") }))
        .collect();
    let body = json!({ "total_count": count, "repositories": rows });
    Mock::given(path("/api/v3/installation/repositories"))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(server)
        .await;
}

async fn mount_search(server: &MockServer, qualifier: &str, response: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path("/api/v3/search/issues"))
        .and(query_param_contains("q", qualifier))
        .and(query_param_contains("q", "user:octo-org"))
        .respond_with(response)
        .mount(server)
        .await;
}

fn results(items: &[Value]) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "total_count": items.len(), "incomplete_results": false, "items": items,
    }))
}

fn item(repository: &str, number: u64) -> Value {
    json!({
        "number": number, "updated_at": stamp(now() - Duration::minutes(3)),
        "repository_url": format!("https://api.github.com/repos/{repository}"),
    })
}

/// Reads the root stream; returns the last page and the number of pages.
async fn walk(github: &GitHub, cursor: Option<Value>) -> Result<(SyncPage, usize), ConnectorError> {
    let mut cursor = cursor;
    for pages in 1.. {
        let mut request = super::request("repositories", cursor, now());
        request.stream = StreamSpec {
            key: "repositories".to_owned(),
            resource_id: None,
            target: Value::Null,
        };
        let page = github.sync(request).await?;
        if !page.has_more {
            return Ok((page, pages));
        }
        cursor = Some(page.cursor);
    }
    unreachable!("the walk ends")
}

#[tokio::test]
async fn search_returns_updates_of_many_repositories() {
    let (server, github, _) = github().await;
    mount_repositories(&server, 30).await;
    let issues = [item("octo-org/R7", 42), item("octo-org/elsewhere", 1)];
    mount_search(&server, "is:issue", results(&issues)).await;
    mount_search(
        &server,
        "is:pull-request",
        results(&[item("octo-org/r9", 5)]),
    )
    .await;
    let (first, pages) = walk(&github, None).await.expect("a list");
    assert_eq!(pages, 1, "a first run has nothing to compare with");
    assert_eq!(first.updates, None);
    let (second, pages) = walk(&github, Some(first.cursor)).await.expect("a list");
    assert_eq!(pages, 3);
    let observed = second.updates.expect("updates");
    assert_eq!(observed.since, now() - Duration::minutes(10));
    let update = |id: &str, key: &str| ObservedUpdate {
        resource_id: id.to_owned(),
        subject_key: key.to_owned(),
        updated_at: now() - Duration::minutes(3),
    };
    assert_eq!(
        observed.updates,
        [update("7", "octo-org/r7#42"), update("9", "octo-org/r9#5")]
    );
}

#[tokio::test]
async fn few_repositories_are_not_searched() {
    let (server, github, _) = github().await;
    mount_repositories(&server, 20).await;
    let (first, _) = walk(&github, None).await.expect("a list");
    let (second, pages) = walk(&github, Some(first.cursor)).await.expect("a list");
    assert_eq!((second.updates, pages), (None, 1));
}

#[tokio::test]
async fn unusable_search_returns_no_updates() {
    let many = json!({ "total_count": 1001, "incomplete_results": false, "items": [] });
    let timed_out = json!({ "total_count": 0, "incomplete_results": true, "items": [] });
    for response in [
        ResponseTemplate::new(200).set_body_json(many),
        ResponseTemplate::new(200).set_body_json(timed_out),
        ResponseTemplate::new(200).set_body_string("<html>"),
        ResponseTemplate::new(422),
        ResponseTemplate::new(503),
    ] {
        let (server, github, _) = github().await;
        mount_repositories(&server, 30).await;
        mount_search(&server, "is:issue", response).await;
        let (first, _) = walk(&github, None).await.expect("a list");
        let (second, pages) = walk(&github, Some(first.cursor)).await.expect("a list");
        assert_eq!((second.updates, pages), (None, 2));
    }
}

#[tokio::test]
async fn rate_limited_search_is_retried() {
    let (server, github, _) = github().await;
    mount_repositories(&server, 30).await;
    let limited = ResponseTemplate::new(429).insert_header("retry-after", "9");
    mount_search(&server, "is:issue", limited).await;
    let (first, _) = walk(&github, None).await.expect("a list");
    let limited = walk(&github, Some(first.cursor)).await;
    assert_eq!(limited.expect_err("the limit").code(), "rate_limited");
}
