//! The connector against payloads and a server that answers as GitHub does.

mod connect;
mod field;
mod golden;
mod grant;
mod limits;
mod properties;
mod recover;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use wiremock::MockServer;

use super::GitHub;
use super::GitHubSettings;
use crate::clock::ManualClock;
use crate::config::{Env, Reader};
use crate::connectors::testing::{OpenGate, deps};
use crate::connectors::{ConnectorDeps, ConnectorSettings};

/// Signs nothing outside these tests.
pub(super) const TEST_KEY: &str = include_str!("fixtures/test-app.pem");
pub(super) const WEBHOOK_SECRET: &str = "a webhook secret";

/// A point in time.
pub(super) fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text)
        .expect("an RFC 3339 time")
        .with_timezone(&Utc)
}

/// What time it is in these tests.
pub(super) fn now() -> DateTime<Utc> {
    at("2026-11-23T12:00:00Z")
}

/// GitHub's settings with the server in GitHub's place.
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

/// A connector whose GitHub is there.
pub(super) fn connector(web: &str, api: &str) -> (GitHub, Arc<OpenGate>) {
    let env = env(web, api);
    let mut reader = Reader::new(&env);
    let settings = GitHubSettings::from_reader(&mut reader);
    reader.finish().expect("settings that can be used");
    let (deps, gate) = deps(now());
    let app = settings.app.expect("GitHub is configured");
    (GitHub::new(app, &deps).expect("a connector"), gate)
}

/// A server, and a connector that calls it below `/api/v3`, as an Enterprise one.
pub(super) async fn github() -> (MockServer, GitHub, Arc<OpenGate>) {
    let server = MockServer::start().await;
    let (github, gate) = connector(&server.uri(), &format!("{}/api/v3", server.uri()));
    (server, github, gate)
}

#[test]
fn the_registry_lists_a_provider_that_is_not_configured() {
    let env = Env::default();
    let mut reader = Reader::new(&env);
    let settings = ConnectorSettings::from_reader(&mut reader);
    reader.finish().expect("nothing is required");
    assert!((settings.limits()["github"].budgets[0].per_second - 10.0).abs() < f64::EPSILON);
    let deps = ConnectorDeps {
        clock: Arc::new(ManualClock::new(now())),
        gate: Arc::new(OpenGate::default()),
    };
    let registry = crate::connectors::Registry::new(settings, &deps).expect("a registry");
    let listed: Vec<_> = registry
        .iter()
        .map(|(known, ready)| (known.slug, ready))
        .collect();
    assert_eq!(
        listed,
        [("github", false), ("slack", false), ("jira", false)]
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
