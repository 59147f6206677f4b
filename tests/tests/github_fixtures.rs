//! Payloads and answers that others recorded from GitHub: every one is understood.
//!
//! They are read from the folder that `POBLYSH_FIXTURES` names, in whose `INDEX.tsv` every
//! webhook payload stands with its event. What each must give is worked out here, from the
//! Signal catalogue's table and not from the connector's code.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::clock::{Clock, ManualClock, SystemClock};
use shared::config::{Env, Reader};
use shared::connectors::{
    Access, Connector, ConnectorDeps, ConnectorError, ConnectorSettings, Directory,
    ExternalAccount, Registry, StreamSpec, SyncRequest, WebhookDelivery,
};
use shared::http::{Admission, Charge, LimitObservation, RateGate, Refused};

const TEST_KEY: &str = include_str!("../../shared/src/connectors/github/fixtures/test-app.pem");
const SECRET: &str = "the secret of these tests";

struct OpenGate;

#[async_trait]
impl RateGate for OpenGate {
    async fn admit(&self, _: &'static str, _: &Charge<'_>) -> Result<Admission, Refused> {
        Ok(Admission::default())
    }

    async fn observe(&self, _: &'static str, _: &Charge<'_>, _: LimitObservation) {}
}

/// The folder of recorded payloads, if there is one here.
fn fixtures() -> Option<PathBuf> {
    let env = Env::from_process().expect("an environment that can be read");
    let folder = env.get("POBLYSH_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        say("POBLYSH_FIXTURES is not set: no recorded payload was checked.");
    }
    folder
}

/// Straight to the terminal: what matters here is said even when the test passes.
fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").expect("a standard output");
}

fn github(api: &str, secret: &str) -> Arc<dyn Connector> {
    let env = Env::from_pairs([
        ("POBLYSH_GITHUB_APP_ID", "1"),
        ("POBLYSH_GITHUB_APP_SLUG", "poblysh"),
        ("POBLYSH_GITHUB_CLIENT_ID", "client"),
        ("POBLYSH_GITHUB_CLIENT_SECRET", "client secret"),
        ("POBLYSH_GITHUB_WEBHOOK_SECRET", secret),
        ("POBLYSH_GITHUB_PRIVATE_KEY", TEST_KEY),
        ("POBLYSH_GITHUB_API_BASE_URL", api),
    ]);
    let mut reader = Reader::new(&env);
    let settings = ConnectorSettings::from_reader(&mut reader);
    reader.finish().expect("settings that can be used");
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let deps = ConnectorDeps {
        clock,
        gate: Arc::new(OpenGate),
    };
    let registry = Registry::new(settings, &deps).expect("a registry");
    registry.get("github").expect("GitHub is configured")
}

/// Verifies a delivery, stores of it what would be stored, and tells its kinds.
fn kinds(github: &dyn Connector, headers: &HeaderMap, body: &Bytes) -> Vec<&'static str> {
    let receipt = github
        .verify_webhook(headers, body)
        .expect("a genuine delivery");
    assert!(receipt.reply.is_none());
    let payload: Value = serde_json::from_slice(body).expect("JSON");
    let installation = payload["installation"]["id"]
        .as_u64()
        .map(|id| id.to_string());
    assert_eq!(receipt.routes.first(), installation.as_ref());
    let kept = github.descriptor().kept_headers;
    let delivery = WebhookDelivery {
        headers: headers
            .iter()
            .filter(|(name, _)| kept.contains(&name.as_str()))
            .map(|(name, value)| {
                (
                    name.to_string(),
                    value.to_str().expect("a text header").to_owned(),
                )
            })
            .collect(),
        body: body.clone(),
        received_at: DateTime::<Utc>::UNIX_EPOCH + Duration::days(20_000),
        account: ExternalAccount::of_route("any"),
    };
    let outcome = github
        .handle_webhook(&delivery, &Directory::default())
        .expect("an outcome");
    for signal in &outcome.signals {
        let repository = payload["repository"]["id"]
            .as_u64()
            .map(|id| id.to_string());
        assert_eq!(Some(&signal.context.id), repository.as_ref());
        assert!(
            signal.dedupe_key.starts_with("github:"),
            "{}",
            signal.dedupe_key
        );
        serde_json::from_str::<Value>(signal.raw.get()).expect("raw is JSON");
    }
    outcome
        .signals
        .iter()
        .map(|signal| signal.kind.as_str())
        .collect()
}

/// The kind of an event, by the catalogue's table.
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
        ("pull_request_review", "submitted") => "pr_reviewed",
        ("pull_request_review", "dismissed") => "pr_review_dismissed",
        ("push", _) => return pushed(payload),
        ("create" | "delete", _) => return referred(event, payload),
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

fn pushed(payload: &Value) -> Option<&'static str> {
    let to_branch = payload["ref"].as_str()?.starts_with("refs/heads/");
    let commits = payload["commits"].as_array().map_or(0, Vec::len);
    let deletion = payload["after"].as_str()?.bytes().all(|byte| byte == b'0');
    (to_branch && commits > 0 && !deletion).then_some("commits_pushed")
}

fn referred(event: &str, payload: &Value) -> Option<&'static str> {
    match (event, payload["ref_type"].as_str()?) {
        ("create", "branch") => Some("branch_created"),
        ("create", "tag") => Some("tag_created"),
        ("delete", "branch") => Some("branch_deleted"),
        ("delete", "tag") => Some("tag_deleted"),
        _ => None,
    }
}

/// The files of one kind: path and event.
fn indexed(folder: &Path, kind: &str) -> Vec<(PathBuf, String)> {
    let index = std::fs::read_to_string(folder.join("INDEX.tsv")).expect("the index");
    index
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|row| row[0].starts_with("github/") && row[1] == kind)
        .map(|row| (folder.join(row[0]), row[2].to_owned()))
        .collect()
}

fn signed(event: &str, body: &[u8]) -> HeaderMap {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    [
        ("x-hub-signature-256", signature.as_str()),
        ("x-github-event", event),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("content-type", "application/json"),
    ]
    .into_iter()
    .map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).expect("a value"),
        )
    })
    .collect()
}

#[test]
fn every_recorded_payload_gives_exactly_the_kinds_of_the_table() {
    let Some(folder) = fixtures() else { return };
    let github = github("https://api.github.com", SECRET);
    let mut counts: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut wrong = Vec::new();
    let files = indexed(&folder, "webhook");
    assert!(!files.is_empty(), "the index names webhook payloads");
    for (path, event) in &files {
        let body = Bytes::from(std::fs::read(path).expect("a payload"));
        let payload: Value = serde_json::from_slice(&body).expect("JSON");
        let expected: Vec<&str> = expected(event, &payload).into_iter().collect();
        let told = kinds(github.as_ref(), &signed(event, &body), &body);
        if told != expected {
            wrong.push(format!(
                "{}: {told:?} instead of {expected:?}",
                path.display()
            ));
        }
        let kind = told.first().copied().unwrap_or("none");
        *counts
            .entry(event.clone())
            .or_default()
            .entry(kind)
            .or_default() += 1;
    }
    say(&format!(
        "{} recorded GitHub payloads, by event:",
        files.len()
    ));
    for (event, kinds) in counts {
        let kinds: Vec<String> = kinds
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        say(&format!("  {event}: {}", kinds.join(", ")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_recorded_signature_is_verified_with_its_secret_and_no_other() {
    let Some(folder) = fixtures() else { return };
    let bodies: Vec<(PathBuf, String)> = indexed(&folder, "signed-webhook")
        .into_iter()
        .filter(|(path, _)| path.to_string_lossy().ends_with(".body.json"))
        .collect();
    assert!(!bodies.is_empty(), "the index names signed deliveries");
    for (path, event) in bodies {
        let meta = path.to_string_lossy().replace(".body.json", ".meta.json");
        let meta: Value =
            serde_json::from_slice(&std::fs::read(meta).expect("the headers")).expect("JSON");
        let headers: HeaderMap = meta["headers"]
            .as_object()
            .expect("headers")
            .iter()
            .map(|(name, value)| {
                let value = value.as_str().expect("a text header");
                let name: HeaderName = name.parse().expect("a header's name");
                (
                    name,
                    HeaderValue::from_str(value).expect("a header's value"),
                )
            })
            .collect();
        let body = Bytes::from(std::fs::read(&path).expect("a body"));
        let secret = meta["secret"].as_str().expect("a secret");
        let genuine = github("https://api.github.com", secret);
        let payload: Value = serde_json::from_slice(&body).expect("JSON");
        let expected: Vec<&str> = expected(&event, &payload).into_iter().collect();
        assert_eq!(
            kinds(genuine.as_ref(), &headers, &body),
            expected,
            "{}",
            path.display()
        );
        let other = github("https://api.github.com", SECRET);
        assert!(
            other.verify_webhook(&headers, &body).is_err(),
            "{}",
            path.display()
        );
        let mut forged = body.to_vec();
        forged.push(b' ');
        assert!(
            genuine
                .verify_webhook(&headers, &Bytes::from(forged))
                .is_err()
        );
    }
}

/// Where the recorded answers are templates, what stands in for them.
fn filled(text: &str, now: DateTime<Utc>) -> String {
    let Some((before, rest)) = text.split_once("{{") else {
        return text.to_owned();
    };
    let (template, after) = rest.split_once("}}").expect("a template ends");
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

/// A recorded answer, as a server that gives it to everybody.
async fn serve(answer: &Value, now: DateTime<Utc>) -> String {
    let status = u16::try_from(answer["status"].as_u64().expect("a status")).expect("a status");
    let mut response = Response::builder().status(status);
    for (name, value) in answer["headers"].as_object().expect("headers") {
        if let (Some(value), false) = (value.as_str(), name.eq_ignore_ascii_case("status")) {
            response = response.header(name, filled(value, now));
        }
    }
    let body = answer["body"].as_str().unwrap_or_default().to_owned();
    let (parts, ()) = response.body(()).expect("an answer").into_parts();
    let router = Router::new().fallback(move || {
        let answer = Response::from_parts(parts.clone(), Body::from(body.clone()));
        std::future::ready(answer)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn every_recorded_limit_is_told_from_a_permission() {
    let Some(folder) = fixtures() else { return };
    let mut count = 0;
    for (path, _) in indexed(&folder, "recorded") {
        let place = path.to_string_lossy();
        let limits =
            place.contains("AbuseLimitHandlerTest") || place.contains("RateLimitHandlerTest");
        if !limits || !place.contains("/mappings/") {
            continue;
        }
        let text = std::fs::read(&path).expect("an answer");
        let recorded: Value = serde_json::from_slice(&text).expect("JSON");
        let answer = &recorded["response"];
        if !matches!(answer["status"].as_u64(), Some(403 | 429)) {
            continue;
        }
        count += 1;
        let now = SystemClock.now();
        let github = github(&serve(answer, now).await, SECRET);
        let error = github.sync(request(now)).await.expect_err("a refusal");
        let ConnectorError::RateLimited { retry_at, .. } = error else {
            panic!("{place}: {error:?}");
        };
        // The clock of the connector stands still at a moment before `now`.
        let wait = retry_at - now;
        assert!(
            wait > -Duration::seconds(5) && wait <= Duration::seconds(65),
            "{place}: {wait}"
        );
    }
    say(&format!(
        "{count} recorded limits were told from permissions."
    ));
    assert!(count >= 6, "the recordings are where they should be");
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
            person: None,
        },
        stream: StreamSpec {
            key: "issues:1".to_owned(),
            resource_id: Some("1".to_owned()),
            target: json!({ "full_name": "octo-org/hello" }),
        },
        cursor: None,
        horizon: now - Duration::days(90),
        until: now,
        bulk: None,
        directory: Arc::default(),
    }
}
