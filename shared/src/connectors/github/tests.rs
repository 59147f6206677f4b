//! Tests of the connector with payloads and a mock server.

mod connect;
mod field;
mod golden;
mod grant;
mod limits;
mod properties;
mod redelivery;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use wiremock::MockServer;

use super::GitHub;
use super::GitHubSettings;
use crate::clock::ManualClock;
use crate::config::{Env, Reader};
use crate::connectors::testing::{NoopLimiter, deps};
use crate::connectors::{ConnectorDeps, ConnectorSettings};

/// Private key that is used only in these tests.
pub(super) const TEST_KEY: &str = include_str!("fixtures/test-app.pem");
pub(super) const WEBHOOK_SECRET: &str = "a webhook secret";

/// Parses a time.
pub(super) fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text)
        .expect("an RFC 3339 time")
        .with_timezone(&Utc)
}

/// Current time in these tests.
pub(super) fn now() -> DateTime<Utc> {
    at("2026-11-23T12:00:00Z")
}

/// Settings of GitHub with these base URLs.
pub(super) fn env(web: &str, api: &str) -> Env {
    Env::from_pairs([
        ("POBLYSH_GITHUB_APP_ID", "12345"),
        ("POBLYSH_GITHUB_APP_SLUG", "poblysh"),
        ("POBLYSH_GITHUB_CLIENT_ID", "Iv1.client"),
        (
            "POBLYSH_GITHUB_CLIENT_SECRET",
            "the-new-client-secret,the-old-client-secret",
        ),
        ("POBLYSH_GITHUB_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("POBLYSH_GITHUB_PRIVATE_KEY", TEST_KEY),
        ("POBLYSH_GITHUB_WEB_BASE_URL", web),
        ("POBLYSH_GITHUB_API_BASE_URL", api),
    ])
}

/// Builds a connector with these base URLs.
pub(super) fn connector(web: &str, api: &str) -> (GitHub, Arc<NoopLimiter>) {
    let env = env(web, api);
    let mut reader = Reader::new(&env);
    let settings = GitHubSettings::from_reader(&mut reader);
    reader.finish().expect("valid settings");
    let (deps, rate_limiter) = deps(now());
    let app = settings.app.expect("GitHub is configured");
    (GitHub::new(app, &deps).expect("a connector"), rate_limiter)
}

/// Starts a server with a connector that calls it below `/api/v3`, like an Enterprise Server.
pub(super) async fn github() -> (MockServer, GitHub, Arc<NoopLimiter>) {
    let server = MockServer::start().await;
    let (github, rate_limiter) = connector(&server.uri(), &format!("{}/api/v3", server.uri()));
    (server, github, rate_limiter)
}

#[test]
fn registry_lists_unconfigured_provider() {
    let env = Env::default();
    let mut reader = Reader::new(&env);
    let settings = ConnectorSettings::from_reader(&mut reader);
    reader.finish().expect("nothing is required");
    assert!((settings.limits()["github"].budgets[0].per_second - 10.0).abs() < f64::EPSILON);
    let deps = ConnectorDeps {
        clock: Arc::new(ManualClock::new(now())),
        rate_limiter: Arc::new(NoopLimiter::default()),
    };
    let registry = crate::connectors::Registry::new(settings, &deps).expect("a registry");
    let listed: Vec<_> = registry
        .iter()
        .map(|(descriptor, configured)| (descriptor.slug, configured))
        .collect();
    assert_eq!(
        listed,
        ["github", "slack", "jira", "google_drive", "gmail"].map(|slug| (slug, false))
    );
    assert_eq!(
        registry.get("github").err(),
        Some(crate::connectors::RegistryError::NotConfigured("github"))
    );
    assert_eq!(
        registry.get("gitlab").err(),
        Some(crate::connectors::RegistryError::Unknown(
            "gitlab".to_owned()
        ))
    );
}
