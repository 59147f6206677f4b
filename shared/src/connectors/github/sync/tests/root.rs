//! Tests of the root stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, ResponseTemplate};

use super::server::{List, unchanged};
use crate::connectors::github::GitHub;
use crate::connectors::github::tests::{github, now};
use crate::connectors::{Connector, ConnectorError, SyncPage};
use crate::model::StreamSpec;

fn repository(id: u64) -> Value {
    json!({
        "id": id, "name": format!("r{id}"), "full_name": format!("octo-org/r{id}"),
        "html_url": format!("https://github.com/octo-org/r{id}"),
        "archived": false, "disabled": false, "has_issues": true,
    })
}

async fn root(github: &GitHub, cursor: Option<Value>) -> Result<SyncPage, ConnectorError> {
    let mut request = super::request("repositories", cursor, now());
    request.stream = StreamSpec {
        key: "repositories".to_owned(),
        resource_id: None,
        target: Value::Null,
    };
    github.sync(request).await
}

async fn walk(github: &GitHub) -> Result<(Vec<StreamSpec>, usize), ConnectorError> {
    let (mut found, mut pages, mut cursor) = (Vec::new(), 0, None);
    loop {
        let page = root(github, cursor).await?;
        assert!(page.signals.is_empty());
        found.extend(page.streams);
        pages += 1;
        if !page.has_more {
            return Ok((found, pages));
        }
        cursor = Some(page.cursor);
    }
}

async fn list(server: &wiremock::MockServer, rows: Vec<Value>) -> List {
    let list_path = "/installation/repositories";
    List::put(
        server,
        list_path,
        unchanged,
        rows,
        Some("repositories"),
        usize::MAX,
    )
    .await
}

#[tokio::test]
async fn streams_follow_repository_features() {
    let (server, github, _) = github().await;
    let mut rows: Vec<Value> = (1..=120).map(repository).collect();
    rows[3]["archived"] = json!(true);
    rows[4]["disabled"] = json!(true);
    rows[5]["has_issues"] = json!(false);
    list(&server, rows).await;
    let (streams, pages) = walk(&github).await.expect("streams");
    assert_eq!(pages, 2);
    assert_eq!(streams.len(), 119 * 7 - 1);
    let keys: Vec<&str> = streams.iter().map(|stream| stream.key.as_str()).collect();
    assert!(keys.contains(&"issues:4") && !keys.contains(&"pulls:5"));
    assert!(!keys.contains(&"issues:6") && keys.contains(&"issue_comments:6"));
    let first = &streams[0];
    assert_eq!(first.resource_id.as_deref(), Some("1"));
    assert_eq!(first.target["full_name"], json!("octo-org/r1"));
}

#[tokio::test]
async fn skipped_repository_restarts_the_walk() {
    let (server, github, _) = github().await;
    let list = list(&server, (1..=150).map(repository).collect()).await;
    list.on_each_response(|count, rows| {
        if count == 1 {
            rows.remove(0);
        }
    });
    let (streams, pages) = walk(&github).await.expect("streams");
    assert_eq!(pages, 4, "two walks of two pages");
    assert!(
        streams.iter().any(|stream| stream.key == "pulls:101"),
        "the repository that moved up"
    );
}

/// Walks a list with one repository and these total counts.
///
/// Returns its streams, whether it is partial, and the number of calls.
async fn walk_with_counts(counts: &'static [u64]) -> (Vec<StreamSpec>, bool, usize) {
    let (server, github, _) = github().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let response = move |_: &wiremock::Request| {
        let call = counter.fetch_add(1, Ordering::Relaxed);
        ResponseTemplate::new(200).set_body_json(json!({
            "total_count": counts[call.min(counts.len() - 1)],
            "repositories": [repository(1)],
        }))
    };
    Mock::given(any())
        .respond_with(response)
        .mount(&server)
        .await;
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = root(&github, cursor).await.expect("a page");
        found.extend(page.streams);
        if !page.has_more {
            return (found, page.is_list_partial, calls.load(Ordering::Relaxed));
        }
        cursor = Some(page.cursor);
    }
}

#[tokio::test]
async fn wrong_count_makes_list_partial() {
    for (counts, expected_calls) in [
        // The same difference twice comes from the count.
        (&[2][..], 2),
        // A changing difference restarts the walk a few times.
        (&[2, 3, 4, 5, 6, 7], 4),
    ] {
        let (streams, is_partial, calls) = walk_with_counts(counts).await;
        assert!(streams.iter().any(|stream| stream.key == "pulls:1"));
        assert!(is_partial, "an unlisted repository may exist");
        assert_eq!(calls, expected_calls);
    }
}

#[tokio::test]
async fn consistent_recount_makes_list_complete() {
    let (_, is_partial, calls) = walk_with_counts(&[2, 1]).await;
    assert_eq!((is_partial, calls), (false, 2));
}

#[tokio::test]
async fn installation_without_repositories_has_no_streams() {
    let (server, github, _) = github().await;
    list(&server, Vec::new()).await;
    let (streams, pages) = walk(&github).await.expect("streams");
    assert_eq!((streams.len(), pages), (0, 1));
}

#[tokio::test]
async fn unreadable_repository_makes_list_partial() {
    let unnamed = json!({ "id": 7 });
    let without_id = json!({ "id": {}, "full_name": "octo-org/r8" });
    for row in [unnamed, without_id] {
        let (server, github, _) = github().await;
        // The row is on the first of two pages.
        let mut rows: Vec<Value> = (1..=120).map(repository).collect();
        rows[3] = row;
        let list = list(&server, rows).await;
        let first = root(&github, None).await.expect("a page");
        assert_eq!(first.unreadable_rows.len(), 1);
        let second = root(&github, Some(first.cursor)).await.expect("a page");
        assert!(!second.has_more && second.is_list_partial);
        // The next walk does not depend on this one.
        list.change(|rows| *rows = vec![repository(1)]);
        let next = root(&github, Some(second.cursor)).await.expect("a page");
        assert!(!next.has_more && !next.is_list_partial);
    }
}

#[tokio::test]
async fn error_of_root_is_never_an_empty_list() {
    for (status, code) in [(409, "permanent"), (410, "permission"), (404, "permission")] {
        let (server, github, _) = github().await;
        let body = json!({ "message": "Git Repository is empty.", "documentation_url": "d" });
        let response = ResponseTemplate::new(status).set_body_json(body);
        Mock::given(any())
            .respond_with(response)
            .mount(&server)
            .await;
        let error = root(&github, None).await.expect_err("an error");
        assert_eq!(error.code(), code, "{status}");
    }
}

/// Reads the list once and returns the last page.
async fn read(github: &GitHub, cursor: Option<Value>) -> SyncPage {
    let mut cursor = cursor;
    loop {
        let page = root(github, cursor).await.expect("a page");
        if !page.has_more {
            return page;
        }
        cursor = Some(page.cursor);
    }
}

#[tokio::test]
async fn lasting_difference_is_confirmed_by_next_run() {
    let (server, github, _) = github().await;
    let response = |ids: &[u64]| {
        let rows: Vec<Value> = ids.iter().copied().map(repository).collect();
        let body = json!({ "total_count": "9", "repositories": rows });
        ResponseTemplate::new(200).set_body_json(body)
    };
    let mut cursor = None;
    for (ids, is_partial) in [
        (&[1, 2, 3][..], true),
        (&[3, 2, 1], false),
        // A repository was removed: only the next run confirms that.
        (&[1, 2], true),
        (&[1, 2], false),
        (&[1, 2], false),
        (&[1, 2, 4], true),
    ] {
        server.reset().await;
        Mock::given(any())
            .respond_with(response(ids))
            .mount(&server)
            .await;
        let page = read(&github, cursor).await;
        assert_eq!(page.is_list_partial, is_partial, "{ids:?}");
        cursor = Some(page.cursor);
    }
}

#[tokio::test]
async fn repository_with_unreadable_row_is_kept() {
    let (server, github, _) = github().await;
    let rows = vec![
        repository(1),
        json!({ "id": 7 }),
        json!({ "full_name": "octo-org/r8" }),
    ];
    list(&server, rows).await;
    let first = read(&github, None).await;
    assert!(first.is_list_partial);
    assert_eq!(first.kept_resources, ["7"]);
    let second = read(&github, Some(first.cursor)).await;
    assert!(!second.is_list_partial, "the next run lists the same");
    assert_eq!(second.kept_resources, ["7"]);
    assert_eq!(second.unreadable_rows.len(), 2);
}

#[tokio::test]
async fn streams_know_that_repository_has_no_issues() {
    let (server, github, _) = github().await;
    let mut without = repository(2);
    without["has_issues"] = json!("false");
    list(&server, vec![repository(1), without]).await;
    let (streams, _) = walk(&github).await.expect("streams");
    let target = |key: &str| {
        let found = streams.iter().find(|stream| stream.key == key);
        found.map(|stream| stream.target["has_issues"].clone())
    };
    assert_eq!(target("issue_comments:1"), Some(Value::Null));
    assert_eq!(target("issue_comments:2"), Some(json!(false)));
    assert_eq!(target("issues:2"), None);
}
