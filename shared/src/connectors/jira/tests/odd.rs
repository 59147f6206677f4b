//! Odd responses of Jira: failing details, lists that do not advance, rows of another form.

use serde_json::{Value, json};
use wiremock::matchers::{any, path_regex};
use wiremock::{Mock, ResponseTemplate};

use super::sync::{page, request};
use super::{access, jira, now};
use crate::connectors::{Connector, ConnectorError, SyncPage};

/// Reads a page with two issues; the list of the first one's changes has this response.
async fn read_issues(changes: ResponseTemplate, failures: u32) -> Result<SyncPage, ConnectorError> {
    let (server, jira, _) = jira().await;
    let issue = |id: u64, total: u64| {
        json!({
            "id": id.to_string(), "key": format!("ENG-{id}"),
            "fields": { "summary": "Light", "created": now(), "updated": now() },
            "changelog": { "total": total, "histories": [] },
        })
    };
    let issues = json!({ "issues": [issue(1, 120), issue(2, 0)] });
    Mock::given(path_regex("/search/jql$"))
        .respond_with(ResponseTemplate::new(200).set_body_json(issues))
        .mount(&server)
        .await;
    Mock::given(path_regex("/issue/1/changelog$"))
        .respond_with(changes)
        .mount(&server)
        .await;
    let mut request = request("issues", None, now() - chrono::TimeDelta::days(1));
    request.failures = failures;
    jira.sync(request).await
}

#[tokio::test]
async fn failing_details_cost_their_row_only() {
    let failing = ResponseTemplate::new(500);
    let early = read_issues(failing.clone(), 0).await;
    assert!(
        matches!(early, Err(ConnectorError::Transient(_))),
        "{early:?}"
    );
    let other = ResponseTemplate::new(200).set_body_json(json!({ "surprise": [] }));
    for (changes, failures) in [(failing, 6), (other, 0)] {
        let page = read_issues(changes, failures).await.expect("a page");
        assert_eq!(page.signals.len(), 2, "both issues were created");
        assert_eq!(page.unreadable_rows[0].id.as_deref(), Some("1"));
        assert!(!page.has_more);
    }
}

#[tokio::test]
async fn worklogs_without_end_time_advance_or_fail() {
    let cursor = json!({ "floor": 1_000, "since": 5_000 });
    let response = json!({
        "values": [{ "worklogId": "7", "updatedTime": 9_000 }, { "worklogId": {} }],
        "until": null, "lastPage": null,
    });
    let (server, jira, _) = jira().await;
    Mock::given(path_regex("/worklog/updated$"))
        .respond_with(ResponseTemplate::new(200).set_body_json(response))
        .mount(&server)
        .await;
    Mock::given(path_regex("/worklog/list$"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .mount(&server)
        .await;
    let read = |cursor: Value| jira.sync(request("worklogs", Some(cursor), now()));
    let first = read(cursor).await.expect("a page");
    assert!(first.has_more);
    assert_eq!(first.cursor["since"], 9_000);
    assert_eq!(first.unreadable_rows.len(), 1);
    let second = read(first.cursor).await;
    assert!(
        matches!(second, Err(ConnectorError::Permanent(_))),
        "{second:?}"
    );
}

#[tokio::test]
async fn only_jiras_answer_shows_a_board_without_sprints() {
    let html = ResponseTemplate::new(400).set_body_string("<html>Bad Request</html>");
    let own =
        json!({ "errorMessages": ["Das Board unterst\u{fc}tzt keine Sprints"], "errors": {} });
    for (response, is_empty) in [
        (ResponseTemplate::new(400).set_body_json(own), true),
        (html, false),
        (ResponseTemplate::new(409), false),
    ] {
        let (server, jira, _) = jira().await;
        Mock::given(any())
            .respond_with(response)
            .mount(&server)
            .await;
        let page = jira.sync(request("sprints:7", None, now())).await;
        assert_eq!(page.is_ok(), is_empty, "{page:?}");
    }
}

#[tokio::test]
async fn unreadable_item_does_not_hide_others() {
    let change = json!({
        "id": "10", "created": now(), "author": { "accountId": "5b1" },
        "items": ["x", { "field": "status", "fieldId": "status", "from": "1", "to": "3",
                         "fromString": "To Do", "toString": "Done" }],
    });
    let issues = json!({ "issues": [{
        "id": "1", "key": "ENG-1", "fields": { "created": now(), "updated": now() },
        "changelog": { "total": 1, "histories": [change] },
    }] });
    let floor = now().timestamp_millis() - 1_000;
    let cursor = json!({ "floor": floor, "high": floor });
    let read = page("issues", cursor, issues).await;
    let keys: Vec<&str> = read
        .signals
        .iter()
        .map(|signal| signal.dedupe_key.as_str())
        .collect();
    assert!(
        keys.iter().any(|key| key.contains("10")),
        "the change of the status: {keys:?}"
    );
}

#[tokio::test]
async fn webhook_without_id_does_not_hide_others() {
    let (server, jira, _) = jira().await;
    let listed = json!({ "isLast": true, "values": [
        { "id": null, "events": null },
        { "id": "71", "jqlFilter": "project in (\"ENG\")", "events": ["jira:issue_created", 5] },
    ] });
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(listed))
        .mount(&server)
        .await;
    let found = jira.list_subscriptions(&access()).await.expect("a list");
    let ids: Vec<&str> = found
        .iter()
        .map(|found| found.external_id.as_str())
        .collect();
    assert_eq!(ids, ["71"]);
}
