//! Check of the GitHub App: identity, permissions, events, webhook and OAuth client.
//!
//! Sources: "REST API endpoints for GitHub Apps" and "REST API endpoints for GitHub App webhooks" at
//! docs.github.com.

mod deliveries;

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::GitHub;
use super::auth::check_client;
use super::client::ApiError;
use crate::connectors::app_check::chain;
use crate::connectors::{AppCheckRequest, Finding};

/// The events that the connector turns into Signals, and that an app must subscribe to.
pub(super) const EVENTS: &[&str] = &[
    "commit_comment",
    "create",
    "delete",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "fork",
    "issue_comment",
    "issues",
    "member",
    "milestone",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "release",
    "repository",
    "star",
    "workflow_run",
];

/// The permission without which no organization can be connected.
const MEMBERS: &str = "members";

/// Response of `GET /app`.
#[derive(Debug, Deserialize)]
struct RegisteredApp {
    slug: Option<String>,
    client_id: Option<String>,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
    #[serde(default)]
    events: Vec<String>,
}

/// Response of `GET /app/hook/config`.
#[derive(Debug, Deserialize)]
struct HookConfig {
    url: Option<String>,
    secret: Option<String>,
}

/// Checks the app.
pub(super) async fn check(github: &GitHub, request: &AppCheckRequest) -> Vec<Finding> {
    let mut findings = match registered_app(github).await {
        Ok(app) => {
            let mut findings = check_identity(github, &app);
            findings.push(check_permissions(github, &app));
            findings.push(check_events(&app));
            findings.extend(check_webhook(github, request).await);
            findings
        }
        Err(finding) => vec![finding],
    };
    findings.push(check_client(github, &request.callback_url).await);
    findings
}

async fn registered_app(github: &GitHub) -> Result<RegisteredApp, Finding> {
    let rejected = |error: ApiError| match error.status {
        Some(StatusCode::UNAUTHORIZED) => Finding::failure(
            "app",
            "GitHub rejects the app's token: the private key is not a key of this app, or the \
             clock is wrong",
            "Generate a private key on the app's page, and set POBLYSH_GITHUB_PRIVATE_KEY and \
             POBLYSH_GITHUB_APP_ID of the same app.",
        ),
        Some(StatusCode::NOT_FOUND) => Finding::failure(
            "app",
            format!("GitHub knows no app with the id {}", github.app.app_id),
            "Copy the App ID of the app's page to POBLYSH_GITHUB_APP_ID.",
        ),
        _ => unreachable("app", &error),
    };
    let response = github.as_app(Method::GET, &["app"], "get_app").await;
    let response = response.map_err(rejected)?;
    response
        .json()
        .map_err(|error| unreachable("app", &error.into()))
}

/// A finding about a call without a usable answer.
fn unreachable(subject: &'static str, error: &ApiError) -> Finding {
    Finding::failure(
        subject,
        format!(
            "GitHub's API gave no usable answer: {}",
            chain(&error.cause)
        ),
        "Check this host's way to GitHub (DNS, firewall, proxy) and POBLYSH_GITHUB_API_BASE_URL, \
         then try again.",
    )
}

fn check_identity(github: &GitHub, app: &RegisteredApp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let slug = app.slug.as_deref().unwrap_or_default();
    if slug == github.app.slug {
        findings.push(Finding::ok("app", format!("the app {slug} is registered")));
    } else {
        findings.push(Finding::failure(
            "app",
            format!(
                "the app of this id has the slug {slug}, not {}",
                github.app.slug
            ),
            format!("Set POBLYSH_GITHUB_APP_SLUG={slug}, or the App ID of the other app."),
        ));
    }
    let client = app.client_id.as_deref();
    if client.is_some_and(|id| id != github.app.client.id) {
        findings.push(Finding::failure(
            "client_id",
            "the client id belongs to another app than the App ID",
            "Copy the Client ID of the app's page to POBLYSH_GITHUB_CLIENT_ID.",
        ));
    }
    findings
}

/// Whether a permission's level includes another one.
fn includes(granted: Option<&str>, needed: &str) -> bool {
    let rank = |level: &str| match level {
        "read" => 1,
        "write" => 2,
        "admin" => 3,
        _ => 0,
    };
    granted.is_some_and(|granted| rank(granted) >= rank(needed))
}

fn check_permissions(github: &GitHub, app: &RegisteredApp) -> Finding {
    const SUBJECT: &str = "permissions";
    let is_missing = |scope: &&&str| {
        let (name, level) = scope.split_once(':').unwrap_or((**scope, "read"));
        // Every app has it.
        name != "metadata" && !includes(app.permissions.get(name).map(String::as_str), level)
    };
    let needed = github.descriptor.scopes.iter();
    let missing: Vec<&str> = needed.filter(is_missing).copied().collect();
    if missing.is_empty() {
        return Finding::ok(SUBJECT, "the app has all permissions");
    }
    let message = format!("the app lacks {}", missing.join(", "));
    let cure = "Add them on the app's page under Permissions & events; each installation's owner \
                then accepts them once.";
    if missing.iter().any(|scope| scope.starts_with(MEMBERS)) {
        return Finding::failure(SUBJECT, message, cure);
    }
    Finding::warning(SUBJECT, message, cure)
}

fn check_events(app: &RegisteredApp) -> Finding {
    const SUBJECT: &str = "events";
    let missing: Vec<&str> = EVENTS
        .iter()
        .filter(|event| !app.events.iter().any(|known| known == *event))
        .copied()
        .collect();
    if missing.is_empty() {
        return Finding::ok(SUBJECT, "the app subscribes to all events");
    }
    Finding::warning(
        SUBJECT,
        format!("the app does not subscribe to {}", missing.join(", ")),
        "Select them on the app's page under Permissions & events; without them, polls find the \
         facts later, or not at all.",
    )
}

/// Checks the app's webhook, and the log of its deliveries.
async fn check_webhook(github: &GitHub, request: &AppCheckRequest) -> Vec<Finding> {
    const SUBJECT: &str = "webhook";
    let path = ["app", "hook", "config"];
    let config: Result<HookConfig, ApiError> = match github
        .as_app(Method::GET, &path, "get_webhook_config")
        .await
    {
        Ok(response) => response.json().map_err(ApiError::from),
        Err(error) => Err(error),
    };
    let config = match config {
        Ok(config) => config,
        Err(error) => return vec![unreachable(SUBJECT, &error)],
    };
    let mut findings = vec![check_url(&config, &request.webhook_url)];
    if github.app.webhook_secrets.is_empty() {
        findings.push(Finding::warning(
            "webhook_secret",
            "no webhook secret is set, so every delivery is rejected and accounts are polled",
            "Set the same random secret on the app's page and as POBLYSH_GITHUB_WEBHOOK_SECRET.",
        ));
    } else if config.secret.as_deref().unwrap_or_default().is_empty() {
        findings.push(Finding::failure(
            "webhook_secret",
            "GitHub signs no delivery, because the app's webhook has no secret",
            "Enter the secret of POBLYSH_GITHUB_WEBHOOK_SECRET on the app's page.",
        ));
    }
    findings.push(deliveries::check(github, request).await);
    findings
}

fn check_url(config: &HookConfig, ours: &Url) -> Finding {
    const SUBJECT: &str = "webhook_url";
    let registered = config.url.as_deref().unwrap_or_default();
    let is_ours = Url::parse(registered)
        .is_ok_and(|url| url.as_str().trim_end_matches('/') == ours.as_str().trim_end_matches('/'));
    match registered {
        _ if is_ours => Finding::ok(SUBJECT, format!("GitHub delivers to {ours}")),
        "" => Finding::failure(
            SUBJECT,
            "the app has no webhook",
            format!("Activate the webhook on the app's page, with the URL {ours}."),
        ),
        other => Finding::failure(
            SUBJECT,
            format!("GitHub delivers to {other}"),
            format!(
                "Set the Webhook URL on the app's page to {ours}, or POBLYSH_PUBLIC_WEBHOOK_URL."
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_includes_lower_ones() {
        for (granted, needed, expected) in [
            (Some("read"), "read", true),
            (Some("write"), "read", true),
            (Some("read"), "write", false),
            (Some("none"), "read", false),
            (None, "read", false),
        ] {
            assert_eq!(includes(granted, needed), expected, "{granted:?} {needed}");
        }
    }

    #[test]
    fn every_event_of_the_list_is_handled() {
        let source = include_str!("normalize.rs");
        for event in EVENTS {
            assert!(source.contains(&format!("\"{event}\"")), "{event}");
        }
    }
}
