//! Recordings of GitHub: webhooks, signed deliveries and rate limit responses.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use http::{HeaderMap, HeaderName};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{Access, Connector, ConnectorError, Directory, SyncRequest};
use shared::crypto::verify_hmac_sha256_hex;
use shared::model::{ExternalAccount, StreamSpec};

use crate::folder::Folder;
use crate::provider::{self, SECRET, connector, headers, hmac_hex, try_verify, verify};
use crate::report::{Tally, print};
use crate::server::{RecordedResponse, serve};

const TEST_KEY: &str = include_str!("../../../shared/src/connectors/github/fixtures/test-app.pem");

/// Minimum length of a secret in the settings.
const MIN_SECRET: usize = 16;

fn github(api: &str, secret: &str) -> Arc<dyn Connector> {
    let settings = [
        ("POBLYSH_GITHUB_APP_ID", "1"),
        ("POBLYSH_GITHUB_APP_SLUG", "poblysh"),
        ("POBLYSH_GITHUB_CLIENT_ID", "client"),
        (
            "POBLYSH_GITHUB_CLIENT_SECRET",
            "the client secret of these tests",
        ),
        ("POBLYSH_GITHUB_WEBHOOK_SECRET", secret),
        ("POBLYSH_GITHUB_PRIVATE_KEY", TEST_KEY),
        ("POBLYSH_GITHUB_API_BASE_URL", api),
    ];
    connector("github", &settings)
}

/// Verifies and handles a delivery, and returns the kinds of its Signals.
fn kinds(github: &dyn Connector, headers: &HeaderMap, body: &Bytes) -> Vec<&'static str> {
    let receipt = verify(github, headers, body);
    assert!(receipt.handshake.is_none());
    let payload: Value = serde_json::from_slice(body).expect("JSON");
    let id_of = |object: &str| payload[object]["id"].as_u64().map(|id| id.to_string());
    assert_eq!(receipt.routes.first(), id_of("installation").as_ref());
    let account = ExternalAccount::from_route("any");
    let outcome = provider::handle(github, headers, body, &account, &Directory::default());
    for signal in &outcome.signals {
        assert_eq!(Some(&signal.context.id), id_of("repository").as_ref());
    }
    provider::kinds(&outcome)
}

/// Kind of an event by the catalogue's table.
fn expected(event: &str, payload: &Value) -> Option<&'static str> {
    let action = payload["action"].as_str().unwrap_or_default();
    Some(match (event, action) {
        ("issues", "opened") => "issue_created",
        ("issues", "closed") => "issue_closed",
        ("issues", "reopened") => "issue_reopened",
        ("issues", "deleted") => "issue_deleted",
        ("issues", "assigned") => "issue_assigned",
        ("issues", "unassigned") => "issue_unassigned",
        ("issues", "transferred") => "issue_transferred",
        (
            "issues",
            "edited" | "labeled" | "unlabeled" | "milestoned" | "demilestoned" | "pinned"
            | "unpinned" | "locked" | "unlocked" | "typed" | "untyped",
        ) => "issue_updated",
        ("issue_comment", "created") if payload["issue"]["pull_request"].is_null() => {
            "issue_commented"
        }
        ("issue_comment" | "pull_request_review_comment", "created") => "pr_commented",
        ("issue_comment" | "pull_request_review_comment" | "discussion_comment", "edited") => {
            "comment_edited"
        }
        ("issue_comment" | "pull_request_review_comment" | "discussion_comment", "deleted") => {
            "comment_deleted"
        }
        ("pull_request", "opened") => "pr_opened",
        ("pull_request", "closed") if payload["pull_request"]["merged"] == json!(true) => {
            "pr_merged"
        }
        ("pull_request", "closed") => "pr_closed",
        ("pull_request", "reopened") => "pr_reopened",
        ("pull_request", "ready_for_review") => "pr_ready_for_review",
        ("pull_request", "review_requested") => "pr_review_requested",
        ("pull_request", other) if !other.is_empty() => "pr_updated",
        // Its comments are the facts.
        ("pull_request_review", "submitted")
            if payload["review"]["state"] == json!("commented")
                && payload["review"]["body"].as_str().is_none_or(str::is_empty) =>
        {
            return None;
        }
        ("pull_request_review", "submitted") => "pr_reviewed",
        ("pull_request_review", "dismissed") => "pr_review_dismissed",
        ("push", _) => return push_kind(payload),
        ("create" | "delete", _) => return reference_kind(event, payload),
        ("release", "published") => "release_published",
        ("release", "edited") => "release_edited",
        ("release", "deleted") => "release_deleted",
        ("deployment_status", "created") => "deployment_status_changed",
        ("workflow_run", "completed") => "workflow_completed",
        ("discussion", "created") => "discussion_created",
        ("discussion", "answered") => "discussion_answered",
        ("discussion_comment", "created") => "discussion_commented",
        ("commit_comment", "created") => "commit_commented",
        ("star", "created") => "repo_starred",
        ("star", "deleted") => "repo_unstarred",
        ("fork", _) => "repo_forked",
        ("milestone", "created") => "milestone_created",
        ("milestone", "closed") => "milestone_closed",
        ("member", "added") => "member_added",
        ("repository", "created") => "repo_created",
        ("repository", "publicized") => "repo_publicized",
        ("repository", "archived") => "repo_archived",
        ("repository", "renamed") => "repo_renamed",
        ("repository", "transferred") => "repo_transferred",
        _ => return None,
    })
}

fn push_kind(payload: &Value) -> Option<&'static str> {
    let is_branch = payload["ref"].as_str()?.starts_with("refs/heads/");
    let commits = payload["commits"].as_array().map_or(0, Vec::len);
    let is_zero = |field: &str| {
        let sha = payload[field].as_str().unwrap_or_default();
        sha.bytes().all(|byte| byte == b'0')
    };
    let is_forced = payload["forced"] == json!(true);
    let is_fact =
        is_branch && (commits > 0 || is_forced) && !is_zero("before") && !is_zero("after");
    is_fact.then_some("commits_pushed")
}

fn reference_kind(event: &str, payload: &Value) -> Option<&'static str> {
    match (event, payload["ref_type"].as_str()?) {
        ("create", "branch") => Some("branch_created"),
        ("create", "tag") => Some("tag_created"),
        ("delete", "branch") => Some("branch_deleted"),
        ("delete", "tag") => Some("tag_deleted"),
        _ => None,
    }
}

fn signed(event: &str, body: &[u8]) -> HeaderMap {
    let signature = format!("sha256={}", hmac_hex(SECRET, &[body]));
    headers([
        ("x-hub-signature-256", signature.as_str()),
        ("x-github-event", event),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("content-type", "application/json"),
    ])
}

#[test]
fn recorded_payloads_yield_the_cataloged_kinds() {
    let Some(folder) = Folder::open() else { return };
    let github = github("https://api.github.com", SECRET);
    let mut tally = Tally::default();
    for file in folder.files("github", "webhook") {
        let body = file.bytes();
        let expected: Vec<&str> = expected(&file.event, &file.json()).into_iter().collect();
        let actual = kinds(github.as_ref(), &signed(&file.event, &body), &body);
        if actual != expected {
            tally.fail(format!("{}: {actual:?} instead of {expected:?}", file.name));
        }
        tally.count(&file.event, &actual.join(" + "));
    }
    tally.finish("recorded GitHub payloads, by event");
}

#[test]
fn payload_of_another_event_yields_no_signal() {
    let Some(folder) = Folder::open() else { return };
    let github = github("https://api.github.com", SECRET);
    let account = ExternalAccount::from_route("any");
    for file in folder.files("github", "webhook") {
        let body = file.bytes();
        for event in [
            "installation",
            "installation_repositories",
            "repository",
            "issues",
            "pull_request",
            "push",
            "create",
            "delete",
            "star",
            "member",
        ] {
            if event == file.event {
                continue;
            }
            let headers = signed(event, &body);
            verify(github.as_ref(), &headers, &body);
            let directory = Directory::default();
            let outcome = provider::handle(github.as_ref(), &headers, &body, &account, &directory);
            assert!(
                outcome.signals.is_empty() && outcome.changes.is_empty(),
                "{} as {event}: {outcome:?}",
                file.name
            );
        }
    }
}

#[test]
fn recorded_signatures_match_only_their_secret() {
    let Some(folder) = Folder::open() else { return };
    let mut bodies = folder.files("github", "signed-webhook");
    bodies.retain(|file| file.name.ends_with(".body.json"));
    assert!(!bodies.is_empty(), "the index has no signed deliveries");
    for file in bodies {
        let meta = file.sibling(".body.json", ".meta.json");
        let pairs = meta["headers"].as_object().expect("headers").iter();
        let headers = headers(
            pairs.map(|(name, value)| (name.as_str(), value.as_str().expect("a text header"))),
        );
        let body = file.bytes();
        let secret = meta["secret"].as_str().expect("a secret");
        // The settings reject such short secrets, so check only the signature.
        if secret.len() < MIN_SECRET {
            let name = HeaderName::from_static("x-hub-signature-256");
            let signature = headers[name].to_str().expect("text");
            let hex = signature.strip_prefix("sha256=").expect("a signature");
            let secrets = [SecretString::from(secret)];
            assert!(
                verify_hmac_sha256_hex(&secrets, &[&body], hex),
                "{}",
                file.name
            );
            assert!(!verify_hmac_sha256_hex(&secrets, &[&body, b" "], hex));
            continue;
        }
        let genuine = github("https://api.github.com", secret);
        let expected: Vec<&str> = expected(&file.event, &file.json()).into_iter().collect();
        assert_eq!(
            kinds(genuine.as_ref(), &headers, &body),
            expected,
            "{}",
            file.name
        );
        let other = github("https://api.github.com", SECRET);
        assert!(
            try_verify(other.as_ref(), &headers, &body, None).is_err(),
            "{}",
            file.name
        );
        let mut forged = body.to_vec();
        forged.push(b' ');
        assert!(try_verify(genuine.as_ref(), &headers, &Bytes::from(forged), None).is_err());
    }
}

/// Replaces the time template of a recorded value.
fn fill_template(text: &str, now: DateTime<Utc>) -> String {
    let Some((before, rest)) = text.split_once("{{") else {
        return text.to_owned();
    };
    let (template, after) = rest.split_once("}}").expect("the end of a template");
    let seconds = template
        .split_once("offset='")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .map_or(0, |number| number.parse().expect("seconds"));
    let at = now + Duration::seconds(seconds);
    let value = if template.contains("unix") {
        at.timestamp().to_string()
    } else {
        at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    format!("{before}{value}{after}")
}

/// A recorded response with filled templates.
pub(crate) fn fill_response(recorded: &Value, now: DateTime<Utc>) -> RecordedResponse {
    let headers = recorded["headers"].as_object().expect("headers").iter();
    RecordedResponse {
        status: u16::try_from(recorded["status"].as_u64().expect("a status")).expect("a status"),
        headers: headers
            .filter(|(name, _)| !name.eq_ignore_ascii_case("status"))
            .filter_map(|(name, value)| Some((name.clone(), fill_template(value.as_str()?, now))))
            .collect(),
        body: recorded["body"].as_str().unwrap_or_default().to_owned(),
    }
}

#[tokio::test]
async fn recorded_limits_are_distinguished_from_missing_permissions() {
    let Some(folder) = Folder::open() else { return };
    let mut count = 0;
    for file in folder.files("github", "recorded") {
        let source = &file.name;
        let is_limit =
            source.contains("AbuseLimitHandlerTest") || source.contains("RateLimitHandlerTest");
        if !is_limit || !source.contains("/mappings/") {
            continue;
        }
        let recorded = &file.json()["response"];
        if !matches!(recorded["status"].as_u64(), Some(403 | 429)) {
            continue;
        }
        count += 1;
        let now = SystemClock.now();
        let response = fill_response(recorded, now);
        let server = serve(move |_| response.clone()).await;
        let github = github(&server.url, SECRET);
        let error = github
            .sync(request(now))
            .await
            .expect_err("an error response");
        let ConnectorError::RateLimited { retry_at, .. } = error else {
            panic!("{source}: {error:?}");
        };
        // The connector's clock is stopped shortly before or after `now`.
        let wait = retry_at - now;
        assert!(
            wait > -Duration::seconds(5) && wait <= Duration::seconds(65),
            "{source}: {wait}"
        );
    }
    print(&format!("{count} recorded limits were recognized."));
    assert!(count >= 6, "recordings are missing");
}

fn request(now: DateTime<Utc>) -> SyncRequest {
    SyncRequest {
        access: Access {
            account: ExternalAccount {
                id: "1".to_owned(),
                name: "octo-org".to_owned(),
                stable_id: "2".to_owned(),
                settings: Value::Null,
            },
            token: "ghs_token".into(),
            user_token: None,
        },
        stream: StreamSpec {
            key: "issues:1".to_owned(),
            resource_id: Some("1".to_owned()),
            target: json!({ "full_name": "octo-org/hello" }),
        },
        cursor: None,
        backfill_from: now - Duration::days(90),
        upper_bound: now,
        resync_from: None,
        reconcile_from: None,
        failures: 0,
        priority: shared::http::Priority::Poll,
        directory: Arc::default(),
    }
}
