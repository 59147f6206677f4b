//! Regression tests of deliveries that integrations commonly normalize wrongly.

use bytes::Bytes;
use serde_json::{Value, json};

use super::golden::delivery;
use crate::connectors::WebhookOutcome;
use crate::connectors::github::webhook;
use crate::connectors::testing::payload;
use crate::model::{ActorKind, SignalDraft, TimestampSource};

/// A changed payload of the fixtures.
fn changed(name: &str, changes: &[(&str, Value)]) -> Value {
    let mut body: Value = serde_json::from_slice(&payload("github", name)).expect("JSON");
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').expect("a JSON pointer");
        let parent = body.pointer_mut(parent).expect("its parent");
        parent[field] = value.clone();
    }
    body
}

fn outcome(event: &str, body: &Value) -> WebhookOutcome {
    let body = Bytes::from(serde_json::to_vec(body).expect("JSON"));
    webhook::handle(&delivery(event, body)).expect("an outcome")
}

fn normalize(event: &str, bodies: &[Value]) -> Vec<SignalDraft> {
    bodies
        .iter()
        .flat_map(|body| outcome(event, body).signals)
        .collect()
}

fn keys(signals: &[SignalDraft]) -> Vec<&str> {
    let mut keys: Vec<&str> = signals.iter().map(|one| one.dedupe_key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[test]
fn gh_pr_several_labels_at_once() {
    let labels = ["infra", "urgent", "parser"];
    let labeled: Vec<Value> = (71..)
        .zip(labels)
        .map(|(id, name)| {
            let label = json!({ "id": id, "name": name });
            changed("pull_request.labeled", &[("/label", label)])
        })
        .collect();
    let assigned: Vec<Value> = [81, 82]
        .into_iter()
        .map(|id| {
            let assignee = json!({ "id": id, "login": format!("person-{id}"), "type": "User" });
            let action = json!("assigned");
            changed(
                "pull_request.converted_to_draft",
                &[("/action", action), ("/assignee", assignee)],
            )
        })
        .collect();
    let signals = normalize("pull_request", &[labeled, assigned].concat());
    assert_eq!(
        keys(&signals),
        [
            "github:pr:3001:assigned:81:2026-11-23T10:00:00Z",
            "github:pr:3001:assigned:82:2026-11-23T10:00:00Z",
            "github:pr:3001:labeled:71:2026-11-23T10:00:00Z",
            "github:pr:3001:labeled:72:2026-11-23T10:00:00Z",
            "github:pr:3001:labeled:73:2026-11-23T10:00:00Z",
        ]
    );
    for (signal, label) in signals.iter().zip(labels) {
        assert_eq!(signal.normalized["label"], label);
        let raw: Value = serde_json::from_str(signal.raw.get()).expect("JSON");
        assert_eq!(raw["label"]["name"], label);
    }
    let second = json!({ "id": "82", "name": "person-82" });
    assert_eq!(signals[4].normalized["assignee"], second);
}

#[test]
fn gh_two_edits_in_one_second() {
    for (event, name, pointer, prefix) in [
        (
            "issue_comment",
            "issue_comment.edited",
            "/comment/body",
            "github:comment:9001:edited:",
        ),
        (
            "discussion_comment",
            "discussion_comment.edited",
            "/comment/body",
            "github:discussion_comment:11001:edited:",
        ),
        (
            "issues",
            "issues.edited",
            "/issue/body",
            "github:issue:2001:edited:",
        ),
        (
            "pull_request",
            "pull_request.edited",
            "/pull_request/title",
            "github:pr:3001:edited:",
        ),
    ] {
        let edit = |text: &str| changed(name, &[(pointer, json!(text))]);
        let signals = normalize(event, &[edit("passes"), edit("fails"), edit("passes")]);
        let keys = keys(&signals);
        assert_eq!(keys.len(), 2, "{keys:?}");
        assert!(keys.iter().all(|key| key.starts_with(prefix)), "{keys:?}");
    }
}

#[test]
fn key_contains_digest_of_edited_texts() {
    let comment = changed("issue_comment.edited", &[("/comment/body", json!("abc"))]);
    let signals = normalize("issue_comment", &[comment]);
    // SHA-256 of "abc" from FIPS 180.
    assert!(signals[0].dedupe_key.ends_with(":ba7816bf8f01"));
    let texts = [("/issue/title", json!("a")), ("/issue/body", Value::Null)];
    let signals = normalize("issues", &[changed("issues.edited", &texts)]);
    // `printf 'a\0' | sha256sum`
    assert!(
        signals[0].dedupe_key.ends_with(":ffe9aaeaa2a2"),
        "{}",
        signals[0].dedupe_key
    );
}

#[test]
fn gh_push_again_after_reset() {
    let (old, new) = ("a".repeat(40), "b".repeat(40));
    let push = |before: &str, after: &str, commits: Value, second: u64| {
        changed(
            "push.branch",
            &[
                ("/before", json!(before)),
                ("/after", json!(after)),
                ("/forced", json!(commits == json!([]))),
                ("/commits", commits),
                ("/repository/pushed_at", json!(1_795_428_000 + second)),
            ],
        )
    };
    let one = || json!([{ "id": new, "message": "Try it" }]);
    let pushes = [
        push(&old, &new, one(), 0),
        push(&new, &old, json!([]), 40),
        push(&old, &new, one(), 95),
    ];
    let signals = normalize("push", &pushes);
    assert_eq!(keys(&signals).len(), 3, "{:?}", keys(&signals));
    assert_eq!(signals[1].normalized["forced"], true);
    assert_eq!(signals[1].normalized["after"], old.as_str());
    // A new branch and an empty push yield no Signal.
    let none = "0".repeat(40);
    let new_branch = changed("push.branch", &[("/before", json!(none))]);
    let nothing = changed("push.branch", &[("/commits", json!([]))]);
    assert!(normalize("push", &[new_branch, nothing]).is_empty());
}

#[test]
fn gh_branch_recreated_same_day() {
    let at = |minute: u64| {
        let pushed_at = json!(format!("2026-11-23T10:{minute:02}:00+00:00"));
        [
            changed(
                "create.branch",
                &[("/repository/pushed_at", pushed_at.clone())],
            ),
            changed("delete.branch", &[("/repository/pushed_at", pushed_at)]),
        ]
    };
    let [[first, _], [_, second], [third, _], [_, fourth]] = [at(1), at(2), at(3), at(4)];
    let created = normalize("create", &[first, third]);
    let deleted = normalize("delete", &[second, fourth]);
    assert_eq!((keys(&created).len(), keys(&deleted).len()), (2, 2));
    assert!(
        created[1]
            .dedupe_key
            .ends_with(":created:2026-11-23T10:03:00Z")
    );
    assert_eq!(created[1].timestamp_source, TimestampSource::Received);
}

#[test]
fn gh_review_reply_two_signals() {
    for body in [Value::Null, json!("")] {
        let review = changed(
            "pull_request_review.submitted.commented",
            &[("/review/body", body)],
        );
        assert!(normalize("pull_request_review", &[review]).is_empty());
    }
    let approved = changed(
        "pull_request_review.submitted.approved",
        &[("/review/body", Value::Null)],
    );
    assert_eq!(normalize("pull_request_review", &[approved]).len(), 1);
    let reply = changed(
        "pull_request_review_comment.created",
        &[("/comment/in_reply_to_id", json!(9))],
    );
    assert_eq!(normalize("pull_request_review_comment", &[reply]).len(), 1);
}

#[test]
fn body_of_other_event_is_refused() {
    for (name, event) in [
        ("issue_comment.deleted", "installation"),
        ("issue_comment.created", "installation"),
        ("issue_comment.deleted", "repository"),
        ("star.created", "repository"),
        ("create.branch", "delete"),
        ("installation.suspend", "installation_repositories"),
    ] {
        let outcome = outcome(event, &changed(name, &[]));
        assert!(outcome.refused.is_some(), "{name} as {event}");
        assert!(outcome.changes.is_empty() && outcome.signals.is_empty());
    }
}

#[test]
fn facts_without_time_have_time_of_receipt() {
    let received = delivery("any", Bytes::new()).received_at;
    for name in [
        "issues.pinned",
        "issues.locked",
        "issues.deleted",
        "member.added",
        "star.deleted",
        "create.tag",
        "release.deleted",
        "pull_request_review.dismissed",
    ] {
        let event = name.split('.').next().expect("an event");
        let signals = normalize(event, &[changed(name, &[])]);
        let signal = &signals[0];
        assert_eq!(
            (signal.timestamp, signal.timestamp_source),
            (received, TimestampSource::Received),
            "{name}"
        );
    }
    let signals = normalize("issues", &[changed("issues.labeled", &[])]);
    assert_eq!(signals[0].timestamp_source, TimestampSource::Provider);
}

#[test]
fn actor_kind_follows_account_type() {
    for (sender, kind, name) in [
        (
            json!({ "id": 5, "login": "renovate", "type": "Bot" }),
            ActorKind::Bot,
            Some("renovate"),
        ),
        (
            json!({ "id": 6, "login": "octo-org", "type": "Organization" }),
            ActorKind::Unknown,
            Some("octo-org"),
        ),
        (
            json!({ "login": "ada", "type": "User" }),
            ActorKind::User,
            Some("ada"),
        ),
        (
            json!({ "id": 10_137, "login": "ghost", "type": "User" }),
            ActorKind::Unknown,
            None,
        ),
        (
            json!({ "id": 7, "login": "", "type": "User" }),
            ActorKind::User,
            None,
        ),
    ] {
        let signals = normalize(
            "issues",
            &[changed("issues.labeled", &[("/sender", sender)])],
        );
        let actor = &signals[0].actor;
        assert_eq!((actor.kind, actor.name.as_deref()), (kind, name));
    }
}

#[test]
fn empty_texts_fall_back_and_unsafe_links_vanish() {
    let unnamed = [
        ("/workflow_run/name", json!("")),
        ("/workflow_run/display_title", json!("")),
        ("/workflow/name", json!("Nightly build")),
        ("/workflow_run/html_url", json!("javascript:alert(1)")),
    ];
    let signals = normalize(
        "workflow_run",
        &[changed("workflow_run.completed", &unnamed)],
    );
    assert_eq!(signals[0].normalized["workflow"], "Nightly build");
    assert_eq!(signals[0].subject.title.as_deref(), Some("Nightly build"));
    assert_eq!(signals[0].subject.url, None);
    let links = [
        ("/deployment_status/target_url", json!("about:blank")),
        (
            "/deployment_status/log_url",
            json!("https://ci.example.com/7"),
        ),
    ];
    let signals = normalize(
        "deployment_status",
        &[changed("deployment_status.created", &links)],
    );
    let url = signals[0].subject.url.as_deref();
    assert_eq!(url, Some("https://ci.example.com/7"));
    let nulls = [
        ("/issue/labels", json!([null, { "name": "bug" }])),
        ("/issue/title", json!("")),
        ("/issue/created_at", Value::Null),
    ];
    let signals = normalize("issues", &[changed("issues.opened", &nulls)]);
    assert_eq!(signals[0].normalized["labels"], json!(["bug"]));
    assert_eq!(signals[0].subject.title, None);
    assert_eq!(signals[0].timestamp_source, TimestampSource::Received);
}

#[test]
fn missing_identity_field_is_an_error() {
    for (name, pointer) in [
        ("star.created", "/starred_at"),
        ("star.created", "/sender"),
        ("star.deleted", "/repository/updated_at"),
        ("member.added", "/member"),
        ("push.branch", "/repository/pushed_at"),
        ("create.branch", "/repository/pushed_at"),
        ("repository.renamed", "/repository/updated_at"),
    ] {
        let event = name.split('.').next().expect("an event");
        let body = changed(name, &[(pointer, Value::Null)]);
        let body = Bytes::from(serde_json::to_vec(&body).expect("JSON"));
        let refused = webhook::handle(&delivery(event, body));
        assert!(refused.is_err(), "{name} without {pointer}");
    }
}

#[test]
fn push_with_unreadable_commits_is_a_push() {
    for (commits, count, listed) in [
        (json!([7, "text", null]), json!(3), 0),
        (
            json!([{ "id": "abc", "message": "Try it" }, 7]),
            json!(2),
            1,
        ),
        (json!([{ "id": "abc", "author": "me" }]), json!(1), 1),
        (json!({ "0": {} }), Value::Null, 0),
    ] {
        let body = changed("push.branch", &[("/commits", commits.clone())]);
        let signals = normalize("push", &[body]);
        assert_eq!(signals.len(), 1, "{commits}");
        let normalized = &signals[0].normalized;
        assert_eq!(normalized["commit_count"], count, "{commits}");
        let shown = normalized["commits"].as_array().expect("a list");
        assert_eq!(shown.len(), listed, "{commits}");
    }
}

#[test]
fn ids_numbers_and_flags_may_be_text() {
    let text = |body: &Value, pointer: &str| {
        let value = body.pointer(pointer).expect("the field");
        json!(value.to_string())
    };
    for (name, pointers) in [
        (
            "pull_request.opened",
            &[
                "/pull_request/id",
                "/pull_request/number",
                "/pull_request/draft",
                "/pull_request/user/id",
                "/repository/id",
                "/repository/private",
            ][..],
        ),
        (
            "issues.opened",
            &["/issue/id", "/issue/number", "/issue/user/id", "/sender/id"],
        ),
        (
            "workflow_run.completed",
            &["/workflow_run/run_number", "/workflow_run/run_attempt"],
        ),
        (
            "release.published",
            &["/release/id", "/release/prerelease", "/release/draft"],
        ),
    ] {
        let event = name.split('.').next().expect("an event");
        let original = changed(name, &[]);
        let textual: Vec<(&str, Value)> = pointers
            .iter()
            .map(|pointer| (*pointer, text(&original, pointer)))
            .collect();
        let expected = normalize(event, &[original]);
        let found = normalize(event, &[changed(name, &textual)]);
        assert_eq!(expected.len(), 1, "{name}");
        assert_eq!(keys(&found), keys(&expected), "{name}");
        assert_eq!(found[0].normalized, expected[0].normalized, "{name}");
        assert_eq!(found[0].actor.id, expected[0].actor.id, "{name}");
        assert_eq!(found[0].subject.key, expected[0].subject.key, "{name}");
    }
}
