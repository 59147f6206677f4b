//! Properties that hold for every payload.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::golden::delivery;
use crate::connectors::github::webhook;
use crate::connectors::testing::{payload, payloads, replace_at, value};
use crate::connectors::{ConnectorError, WebhookOutcome};

const EVENTS: [&str; 26] = [
    "issues",
    "issue_comment",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "create",
    "delete",
    "release",
    "deployment_status",
    "workflow_run",
    "discussion",
    "discussion_comment",
    "commit_comment",
    "star",
    "fork",
    "milestone",
    "member",
    "repository",
    "installation",
    "installation_repositories",
    "github_app_authorization",
    "ping",
    "public",
    "watch",
    "anything",
];

fn handle(event: &str, payload: &Value) -> Result<WebhookOutcome, ConnectorError> {
    let body = serde_json::to_vec(payload).expect("a value is JSON");
    webhook::handle(&delivery(event, Bytes::from(body)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changed_payload_never_panics(
        which in any::<prop::sample::Index>(),
        event in prop::sample::select(&EVENTS[..]),
        keep_event in any::<bool>(),
        changes in prop::collection::vec(
            (prop::collection::vec(any::<usize>(), 1..4), value()), 1..6),
    ) {
        let all = payloads("github");
        let (name, body) = which.get(&all);
        let own = name.split('.').next().expect("an event");
        let mut payload: Value = serde_json::from_slice(body).expect("JSON");
        for (path, with) in &changes {
            replace_at(&mut payload, path, with);
        }
        let event = if keep_event { own } else { event };
        match handle(event, &payload) {
            Ok(outcome) => for signal in outcome.signals {
                prop_assert!(signal.dedupe_key.starts_with("github:"));
            },
            Err(ConnectorError::Permanent(_)) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn non_json_body_is_permanent(
        event in prop::sample::select(&EVENTS[..]),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assume!(serde_json::from_slice::<Value>(&body).is_err());
        let outcome = webhook::handle(&delivery(event, Bytes::from(body)));
        prop_assert!(matches!(outcome, Err(ConnectorError::Permanent(_))));
    }

    #[test]
    fn dedupe_key_depends_on_fact_only(
        which in any::<prop::sample::Index>(),
        title in any::<String>(),
        login in "[a-z]{1,12}",
        seconds in 0_i64..100_000_000,
    ) {
        let all = payloads("github");
        let (name, body) = which.get(&all);
        let event = name.split('.').next().expect("an event");
        let mut payload: Value = serde_json::from_slice(body).expect("JSON");
        let keys = |outcome: WebhookOutcome| -> Vec<String> {
            outcome.signals.into_iter().map(|signal| signal.dedupe_key).collect()
        };
        let before = keys(handle(event, &payload).expect("an outcome"));
        // The receiver, names and the time of receipt are not part of the fact. The title is part
        // of an edit.
        let is_edit = payload["action"] == json!("edited");
        for object in ["issue", "pull_request", "discussion", "milestone"] {
            if payload[object].is_object() && !is_edit {
                payload[object]["title"] = json!(title);
            }
        }
        payload["repository"]["full_name"] = json!(format!("{login}/{login}"));
        payload["organization"] = json!({ "login": login });
        let mut later = delivery(event, Bytes::from(serde_json::to_vec(&payload).expect("JSON")));
        later.received_at += chrono::Duration::seconds(seconds);
        prop_assert_eq!(before, keys(webhook::handle(&later).expect("an outcome")));
    }

    #[test]
    fn body_replayed_as_other_event_yields_nothing(
        which in any::<prop::sample::Index>(),
        event in prop::sample::select(&EVENTS[..]),
    ) {
        let all = payloads("github");
        let (name, body) = which.get(&all);
        let own = name.split('.').next().expect("an event");
        prop_assume!(event != own);
        let outcome = webhook::handle(&delivery(event, body.clone())).expect("an outcome");
        prop_assert!(outcome.signals.is_empty(), "{:?}", outcome.signals);
        prop_assert!(outcome.changes.is_empty(), "{:?}", outcome.changes);
    }
}

#[test]
fn facts_have_distinct_keys() {
    let mut keys: HashMap<String, String> = HashMap::new();
    for (name, body) in payloads("github") {
        let event = name.split('.').next().expect("an event").to_owned();
        for signal in webhook::handle(&delivery(&event, body))
            .expect("an outcome")
            .signals
        {
            let known = keys.insert(signal.dedupe_key.clone(), name.clone());
            assert_eq!(known, None, "{name} has {}", signal.dedupe_key);
        }
    }
}

#[test]
fn time_formats_yield_same_key() {
    for (name, pointer, expected) in [
        (
            "issues.closed",
            "/issue/closed_at",
            "github:issue:2001:closed:2026-11-23T10:00:00Z",
        ),
        (
            "create.branch",
            "/repository/pushed_at",
            "github:branch:1296269:feature/long:created:2026-11-23T10:00:00Z",
        ),
    ] {
        let event = name.split('.').next().expect("an event");
        let mut payload: Value = serde_json::from_slice(&payload("github", name)).expect("JSON");
        for written in [
            json!("2026-11-23T10:00:00Z"),
            json!("2026-11-23T11:00:00.000+01:00"),
            json!("2026-11-23T10:00:00.700Z"),
            json!(1_795_428_000),
        ] {
            *payload.pointer_mut(pointer).expect("the time") = written;
            let outcome = handle(event, &payload).expect("an outcome");
            assert_eq!(outcome.signals[0].dedupe_key, expected);
        }
    }
}

#[test]
fn each_key_part_distinguishes_facts() {
    let cases = [
        (
            "issues.labeled",
            vec!["/issue/id", "/issue/updated_at", "/label/id", "/action"],
        ),
        (
            "issues.assigned",
            vec!["/issue/id", "/assignee/id", "/issue/updated_at"],
        ),
        (
            "issues.edited",
            vec!["/issue/title", "/issue/body", "/issue/updated_at"],
        ),
        (
            "pull_request.labeled",
            vec!["/pull_request/id", "/label/id", "/pull_request/updated_at"],
        ),
        (
            "push.branch",
            vec!["/repository/id", "/ref", "/after", "/repository/pushed_at"],
        ),
        (
            "star.deleted",
            vec!["/repository/id", "/sender/id", "/repository/updated_at"],
        ),
        (
            "workflow_run.completed",
            vec!["/workflow_run/id", "/workflow_run/run_attempt"],
        ),
        (
            "star.created",
            vec!["/repository/id", "/sender/id", "/starred_at"],
        ),
        (
            "pull_request.review_requested.person",
            vec!["/requested_reviewer/id"],
        ),
        (
            "member.added",
            vec!["/repository/id", "/member/id", "/repository/updated_at"],
        ),
        (
            "create.branch",
            vec![
                "/repository/id",
                "/ref",
                "/ref_type",
                "/repository/pushed_at",
            ],
        ),
        (
            "pull_request_review_comment.edited",
            vec!["/comment/id", "/comment/body", "/comment/updated_at"],
        ),
    ];
    for (name, parts) in cases {
        let event = name.split('.').next().expect("an event");
        let (_, body) = payloads("github")
            .into_iter()
            .find(|(known, _)| known == name)
            .expect("the payload");
        let payload: Value = serde_json::from_slice(&body).expect("JSON");
        let key = |payload: &Value| {
            handle(event, payload).expect("an outcome").signals[0]
                .dedupe_key
                .clone()
        };
        for part in parts {
            let mut other = payload.clone();
            let pointer = other.pointer_mut(part).expect("the part");
            *pointer = match (&*pointer, part) {
                (Value::Number(_), _) => json!(77_777),
                (_, "/action") => json!("unlabeled"),
                (_, "/ref") => json!("refs/heads/other"),
                (_, "/ref_type") => json!("tag"),
                (_, "/after") => json!("e".repeat(40)),
                _ => json!("2026-11-23T10:00:01Z"),
            };
            assert_ne!(key(&payload), key(&other), "{name} {part}");
        }
    }
}

#[test]
fn error_names_field_without_quoting_content() {
    let (_, body) = payloads("github")
        .into_iter()
        .find(|(name, _)| name == "issues.opened")
        .expect("it");
    let mut payload: Value = serde_json::from_slice(&body).expect("JSON");
    let cause = |payload: &Value| {
        let error = handle("issues", payload).expect_err("an error");
        std::error::Error::source(&error)
            .expect("a cause")
            .to_string()
    };
    payload["issue"]
        .as_object_mut()
        .expect("an object")
        .remove("id");
    assert!(
        cause(&payload).contains("`issue`") && cause(&payload).contains("`id`"),
        "{}",
        cause(&payload)
    );
    payload["issue"]["id"] = json!("confidential");
    assert!(cause(&payload).contains("`issue`"), "{}", cause(&payload));
    assert!(
        !cause(&payload).contains("confidential"),
        "{}",
        cause(&payload)
    );
    payload["issue"] = Value::Null;
    assert!(
        cause(&payload).contains("no field `issue`"),
        "{}",
        cause(&payload)
    );
}
