//! Regression tests of payloads from production.
//!
//! Categories in payloads, renamed fields, planned release dates, rejected events.

use bytes::Bytes;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, Request, ResponseTemplate};

use super::golden::handle;
use super::{access, directory, jira, now, subscribe_request};
use crate::connectors::testing::payload;
use crate::connectors::{Connector, Directory, WebhookOutcome};
use crate::model::{ActorKind, SignalKind};

fn handle_changed(name: &str, change: impl FnOnce(&mut Value)) -> (WebhookOutcome, Directory) {
    let mut body: Value = serde_json::from_slice(&payload("jira", name)).expect("JSON");
    change(&mut body);
    let directory = directory();
    let outcome = handle(&Bytes::from(body.to_string()), &directory);
    (outcome, directory)
}

fn status(id: &str, category: &str) -> Value {
    json!({ "id": id, "name": "any", "statusCategory": { "key": category } })
}

#[test]
fn payload_category_precedes_directory_category() {
    for (current, kind) in [
        // The directory has another category for 10001.
        (status("10001", "done"), SignalKind::IssueClosed),
        (
            status("10001", "indeterminate"),
            SignalKind::IssueStatusChanged,
        ),
        // The payload's current status is not the target status of the change.
        (status("10002", "done"), SignalKind::IssueStatusChanged),
        (Value::Null, SignalKind::IssueStatusChanged),
    ] {
        let (outcome, directory) = handle_changed("issue_updated.status", |body| {
            body["issue"]["fields"]["status"] = current.clone();
        });
        assert_eq!(outcome.signals[0].kind, kind, "{current}");
        assert_eq!(outcome.signals[0].normalized["to_id"], "10001");
        assert!(directory.take_missing().is_empty());
    }
    // The directory does not know the status.
    let (outcome, directory) = handle_changed("issue_updated.status", |body| {
        body["issue"]["fields"]["status"] = status("19999", "done");
        body["changelog"]["items"][0]["to"] = json!("19999");
    });
    assert_eq!(outcome.signals[0].kind, SignalKind::IssueClosed);
    assert!(directory.take_missing().is_empty());
}

#[test]
fn changed_fields_have_id_and_name() {
    let (outcome, _) = handle_changed("issue_updated.status", |body| {
        body["changelog"]["items"] = json!([
            { "field": "Storypunkte", "fieldId": "customfield_10016", "fieldtype": "custom",
              "from": null, "fromString": "3", "to": null, "toString": "5" },
            { "field": "summary", "fieldtype": "jira", "fromString": "a", "toString": "b" },
        ]);
    });
    let fields = &outcome.signals[0].normalized["fields"];
    assert_eq!(
        fields[0],
        json!({ "field": "customfield_10016", "name": "Storypunkte", "from": "3", "to": "5" })
    );
    assert_eq!(fields[1]["field"], "summary");
}

#[test]
fn release_has_the_time_of_its_delivery() {
    for planned in ["2031-01-01", "2020-01-01"] {
        let (outcome, _) = handle_changed("version_released", |body| {
            body["timestamp"] = json!(1_795_428_900_000_i64);
            body["version"]["releaseDate"] = json!(planned);
        });
        let signal = &outcome.signals[0];
        assert_eq!(signal.timestamp.timestamp_millis(), 1_795_428_900_000);
        assert_eq!(signal.normalized["release_date"], planned);
    }
}

#[test]
fn missing_issue_is_found_by_object_url() {
    for (name, object, path) in [
        ("comment_created", "comment", "comment/1"),
        ("worklog_created", "worklog", "worklog/1"),
    ] {
        let (outcome, _) = handle_changed(name, |body| {
            let fields = body.as_object_mut().expect("an object");
            fields.remove("issue");
            let object = fields[object].as_object_mut().expect("an object");
            object.remove("issueId");
            let url = format!("https://acme.atlassian.net/rest/api/2/issue/20001/{path}");
            object.insert("self".to_owned(), json!(url));
        });
        let signal = &outcome.signals[0];
        assert_eq!(signal.subject.key.as_deref(), Some("ENG-7"), "{name}");
        assert_eq!(
            signal.subject.title.as_deref(),
            Some("The valve leaks"),
            "{name}"
        );
        assert_eq!(signal.context.id, "10001", "{name}");
    }
    let (outcome, directory) = handle_changed("comment_created", |body| {
        body.as_object_mut().expect("an object").remove("issue");
        body["comment"]["self"] =
            json!("https://acme.atlassian.net/rest/api/2/issue/29999/comment/1");
    });
    assert_eq!(
        directory.take_missing()[0].id,
        "29999",
        "a lookup is requested"
    );
    let context = serde_json::to_value(&outcome.signals[0].context).expect("JSON");
    assert_eq!(context.get("id"), None, "the project is unknown");
}

#[test]
fn actor_name_without_id_is_kept() {
    let (outcome, _) = handle_changed("issue_deleted", |body| {
        body["user"] = json!({ "displayName": "Automation for Jira", "accountType": "app" });
    });
    let actor = &outcome.signals[0].actor;
    assert_eq!(
        (actor.id.as_deref(), actor.name.as_deref()),
        (None, Some("Automation for Jira"))
    );
    assert_eq!(actor.kind, ActorKind::App);
}

#[test]
fn creator_without_id_is_kept() {
    for (creator, expected) in [
        (json!({ "displayName": "Migration" }), Some("Migration")),
        // The delivery's user is the fallback for a creator without id and name.
        (json!({}), Some("Ada")),
    ] {
        let (outcome, _) = handle_changed("issue_created", |body| {
            body["issue"]["fields"]["creator"] = creator.clone();
            body["user"] = json!({ "accountId": "712020:ada", "displayName": "Ada" });
        });
        let actor = &outcome.signals[0].actor;
        assert_eq!(actor.name.as_deref(), expected, "{creator}");
        assert_eq!(actor.id.is_some(), creator == json!({}), "{creator}");
    }
}

#[tokio::test]
async fn unreadable_worklog_does_not_block_others() {
    let (server, jira, _) = jira().await;
    let updated = json!({ "lastPage": true, "until": 1_700_000_000_000_i64, "values": [
        { "worklogId": "invalid" }, { "worklogId": 5 },
    ] });
    let worklog = json!([{
        "id": "5", "issueId": "20001", "created": "2023-11-14T22:10:00.000+0000",
        "timeSpentSeconds": 60,
    }]);
    for (end, response) in [("updated", updated), ("list", worklog)] {
        Mock::given(path(format!(
            "/api/ex/jira/cloud-1/rest/api/3/worklog/{end}"
        )))
        .respond_with(ResponseTemplate::new(200).set_body_json(response))
        .mount(&server)
        .await;
    }
    Mock::given(path("/api/ex/jira/cloud-1/rest/api/3/search/jql"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "issues": [] })))
        .mount(&server)
        .await;
    let page = super::sync::first_page(&jira, "worklogs", now() - chrono::Duration::days(1)).await;
    let keys: Vec<&str> = page
        .signals
        .iter()
        .map(|signal| signal.dedupe_key.as_str())
        .collect();
    assert_eq!(keys, ["jira:cloud-1:worklog:5:created"]);
    assert_eq!(page.unreadable_rows.len(), 1);
}

#[tokio::test]
async fn rejected_events_are_omitted_and_reported() {
    let (server, jira, _) = jira().await;
    let endpoint = "/api/ex/jira/cloud-1/rest/api/3/webhook";
    Mock::given(method("POST"))
        .and(path(endpoint))
        .respond_with(|request: &Request| {
            let body: Value = request.body_json().expect("JSON");
            let events = body["webhooks"][0]["events"]
                .as_array()
                .expect("events")
                .clone();
            let is_rejected = events.contains(&json!("sprint_deleted"))
                || events.contains(&json!("comment_deleted"));
            let result = if is_rejected {
                json!({ "errors": ["One of the events cannot be used."] })
            } else {
                json!({ "createdWebhookId": 100 + events.len() })
            };
            ResponseTemplate::new(200)
                .set_body_json(json!({ "webhookRegistrationResult": [result] }))
        })
        .mount(&server)
        .await;
    Mock::given(method("DELETE"))
        .and(path(endpoint))
        .respond_with(ResponseTemplate::new(202))
        .mount(&server)
        .await;
    let subscription = jira
        .subscribe(&access(), &subscribe_request())
        .await
        .expect("registered");
    assert_eq!(subscription.external_id, "112", "the twelve others");
    assert_eq!(
        subscription.refused_events,
        ["comment_deleted", "sprint_deleted"]
    );
    // All probes have been deleted.
    let requests = server.received_requests().await.expect("recorded");
    let count = |method: &str| {
        requests
            .iter()
            .filter(|request| request.method.as_str() == method)
            .count()
    };
    let registered = requests
        .iter()
        .filter(|request| request.method.as_str() == "POST")
        .filter(|request| {
            let text = String::from_utf8_lossy(&request.body).into_owned();
            !text.contains("sprint_deleted") && !text.contains("comment_deleted")
        })
        .count();
    assert_eq!(count("DELETE"), registered - 1);
    assert!(count("POST") < 20, "{}", count("POST"));
}

#[tokio::test]
async fn unreadable_issue_does_not_block_others() {
    let (server, jira, _) = jira().await;
    let fields = json!({
        "summary": "fine", "created": "2023-11-14T22:20:00.000+0000",
        "updated": "2023-11-14T22:20:00.000+0000",
        "project": { "id": "10001", "key": "ENG", "name": "Engineering" },
    });
    let mut torn = fields.clone();
    torn["summary"] = json!("torn HALF");
    let mut commented = fields.clone();
    commented["comment"] = json!({ "total": 2, "comments": [
        { "id": "1", "body": "no time" },
        { "id": "2", "body": "fine", "created": "2023-11-14T22:20:00.000+0000" },
    ] });
    let response = json!({ "issues": [
        "no issue", { "id": "1", "key": "ENG-1", "fields": null },
        { "id": {}, "key": "ENG-2", "fields": fields }, { "id": "3", "key": "ENG-3", "fields": torn },
        { "id": "4", "key": "ENG-4", "fields": commented },
    ] });
    let text = response.to_string().replace("HALF", r"\udc00");
    Mock::given(path("/api/ex/jira/cloud-1/rest/api/3/search/jql"))
        .respond_with(ResponseTemplate::new(200).set_body_string(text))
        .mount(&server)
        .await;
    let page = super::sync::first_page(&jira, "issues", now() - chrono::Duration::days(1)).await;
    let keys: Vec<&str> = page
        .signals
        .iter()
        .map(|signal| signal.dedupe_key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "jira:cloud-1:issue:3:created",
            "jira:cloud-1:issue:4:created",
            "jira:cloud-1:comment:2:created"
        ]
    );
    assert_eq!(
        page.signals[0].subject.title.as_deref(),
        Some("torn \u{fffd}")
    );
    assert!(page.signals[0].raw.get().contains(r"torn \udc00"));
    let reasons: Vec<&str> = page
        .unreadable_rows
        .iter()
        .map(|row| row.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "the payload has no field `issue.fields.created`",
            "the payload has no field `issue.id`",
            "the payload has no field `comment.created`",
            "the payload has no field `issue`",
        ]
    );
    assert_eq!(page.unreadable_rows[2].id.as_deref(), Some("1"));
}
