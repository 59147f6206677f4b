//! Tests of what GitHub's responses prove: empty lists, and the repository that rows belong to.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{page, stamp, user};
use crate::connectors::Connector;
use crate::connectors::github::GitHub;
use crate::connectors::github::tests::{github, html, now, settings_with_api};
use crate::connectors::testing::build;

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - Duration::minutes(minutes)
}

fn issue(id: u64, updated_at: DateTime<Utc>) -> Value {
    json!({
        "id": id, "number": id, "title": format!("Issue {id}"), "state": "open",
        "html_url": format!("https://github.com/octo-org/hello/issues/{id}"),
        "user": user(1), "labels": [], "created_at": stamp(updated_at),
        "updated_at": stamp(updated_at), "closed_at": null,
    })
}

/// A response of GitHub with this message.
fn own(status: u16, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "message": message, "documentation_url": "https://docs.github.com/rest",
    }))
}

#[tokio::test]
async fn only_empty_git_repository_is_empty_page() {
    let empty = || own(409, "Git Repository is empty.");
    for (stream, response, expected) in [
        ("pulls", empty(), None),
        ("releases", empty(), None),
        ("workflow_runs", empty(), None),
        ("issues", empty(), Some("permanent")),
        ("stargazers", empty(), Some("permanent")),
        ("pulls", own(409, "Conflict"), Some("permanent")),
        ("pulls", html(409), Some("permanent")),
        (
            "issues",
            own(410, "Issues are disabled for this repo"),
            Some("permission"),
        ),
        ("issue_comments", own(410, "Gone"), Some("permission")),
        ("pulls", html(410), Some("permission")),
    ] {
        let (server, github, _) = github().await;
        let mock = Mock::given(any()).respond_with(response);
        mock.mount(&server).await;
        let result = page(&github, stream, None, now()).await;
        match (result, expected) {
            (Ok(page), None) => {
                assert!(page.signals.is_empty() && !page.has_more, "{stream}");
                assert_eq!(page.cursor, Value::Null, "{stream}");
            }
            (Err(error), Some(code)) => assert_eq!(error.code(), code, "{stream}"),
            (result, _) => panic!("{stream}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn list_of_comments_is_empty_if_repository_has_no_issues() {
    let (server, github, _) = github().await;
    let gone = Mock::given(any()).respond_with(own(410, "Issues are disabled for this repo"));
    gone.mount(&server).await;
    let mut request = super::request("issue_comments", None, now());
    request.stream.target["has_issues"] = json!(false);
    let page = github.sync(request).await.expect("a page");
    assert!(page.signals.is_empty() && !page.has_more);
}

/// A repository was deleted, and another one has its name.
#[tokio::test]
async fn rows_of_namesake_are_refused() {
    let rows = json!([issue(1, ago(5))]);
    // The list of repositories showed the new owner of the name.
    let (server, github, _) = github().await;
    github.names.note("5", "octo-org/hello", 2);
    let list = Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(&rows));
    list.mount(&server).await;
    let error = page(&github, "issues", None, now()).await;
    assert_eq!(error.expect_err("refused").code(), "permission");
    assert!(
        server
            .received_requests()
            .await
            .expect("requests")
            .is_empty()
    );

    // A link shows it.
    let (server, github, _) = super::github().await;
    let next = format!(
        "<{}/api/v3/repositories/2/issues?page=2>; rel=\"next\"",
        server.uri()
    );
    let linked = ResponseTemplate::new(200)
        .insert_header("link", next.as_str())
        .set_body_json(&rows);
    Mock::given(any()).respond_with(linked).mount(&server).await;
    let error = page(&github, "issues", None, now()).await;
    assert_eq!(error.expect_err("refused").code(), "permission");

    // A row shows it.
    let run = json!({ "id": 9, "status": "completed", "created_at": stamp(ago(9)),
                      "updated_at": stamp(ago(8)), "repository": { "id": 2 } });
    for (stream, body) in [
        (
            "workflow_runs",
            json!({ "total_count": 1, "workflow_runs": [run] }),
        ),
        (
            "pulls",
            json!([{ "id": 9, "number": 1, "updated_at": stamp(ago(8)),
                           "base": { "ref": "main", "repo": { "id": "2" } } }]),
        ),
    ] {
        let (server, github, _) = super::github().await;
        let response = ResponseTemplate::new(200).set_body_json(body);
        Mock::given(any())
            .respond_with(response)
            .mount(&server)
            .await;
        let error = page(&github, stream, None, now()).await;
        assert_eq!(error.expect_err("refused").code(), "permission", "{stream}");
    }
}

#[tokio::test]
async fn unknown_name_is_looked_up_once() {
    for (id, is_read) in [(1_296_269_u64, true), (2, false)] {
        // This connector has not listed the repositories yet.
        let server = MockServer::start().await;
        let (web, api) = (server.uri(), format!("{}/api/v3", server.uri()));
        let (github, _) = build(&settings_with_api(&web, &api), now(), GitHub::new);
        Mock::given(path("/api/v3/repos/octo-org/hello"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "id": id })))
            .expect(1)
            .mount(&server)
            .await;
        Mock::given(path("/api/v3/repos/octo-org/hello/issues"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!([issue(1, ago(5))])))
            .mount(&server)
            .await;
        for _ in 0..2 {
            let result = page(&github, "issues", None, now()).await;
            assert_eq!(result.is_ok(), is_read, "{id}");
        }
    }
}

#[tokio::test]
async fn object_without_list_is_permanent() {
    for (stream, body) in [
        ("workflow_runs", json!({ "surprise": [] })),
        (
            "workflow_runs",
            json!({ "total_count": 0, "workflow_runs": null }),
        ),
        ("workflow_runs", json!([])),
        ("issues", json!({ "surprise": [] })),
        ("releases", json!({ "releases": [] })),
        ("repositories", json!({ "surprise": [] })),
    ] {
        let (server, github, _) = github().await;
        let response = ResponseTemplate::new(200).set_body_json(&body);
        Mock::given(any())
            .respond_with(response)
            .mount(&server)
            .await;
        let mut request = super::request(stream, None, now());
        if stream == "repositories" {
            stream.clone_into(&mut request.stream.key);
        }
        let error = github.sync(request).await.expect_err("an error");
        assert_eq!(error.code(), "permanent", "{stream} {body}");
    }
}
