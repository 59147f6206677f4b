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
use serde_json::json;
use wiremock::{MockServer, ResponseTemplate};

use super::GitHub;
use crate::connectors::testing::{NoopLimiter, Settings, build};

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

/// Settings of GitHub at this address.
pub(in crate::connectors) fn settings(base: &str) -> Settings {
    settings_with_api(base, base)
}

/// Settings of GitHub with these base URLs.
pub(super) fn settings_with_api(web: &str, api: &str) -> Settings {
    [
        ("GITHUB_APP_ID", "12345"),
        ("GITHUB_APP_SLUG", "poblysh"),
        ("GITHUB_CLIENT_ID", "Iv1.client"),
        (
            "GITHUB_CLIENT_SECRET",
            "the-new-client-secret,the-old-client-secret",
        ),
        ("GITHUB_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("GITHUB_PRIVATE_KEY", TEST_KEY),
        ("GITHUB_WEB_BASE_URL", web),
        ("GITHUB_API_BASE_URL", api),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// Builds a connector with these base URLs, which has listed the repository of the tests.
pub(super) fn connector(web: &str, api: &str) -> (GitHub, Arc<NoopLimiter>) {
    let (github, rate_limiter) = build(&settings_with_api(web, api), now(), GitHub::new);
    github.names.note("5", "octo-org/hello", 1_296_269);
    (github, rate_limiter)
}

/// GitHub's own response for a resource that does not exist.
pub(super) fn not_found() -> ResponseTemplate {
    ResponseTemplate::new(404).set_body_json(json!({
        "message": "Not Found", "documentation_url": "https://docs.github.com/rest",
        "status": "404",
    }))
}

/// The page of a proxy or of a server under maintenance.
pub(super) fn html(status: u16) -> ResponseTemplate {
    let page = "<!DOCTYPE html><html><body>We will be right back.</body></html>";
    ResponseTemplate::new(status).set_body_raw(page, "text/html")
}

/// Starts a server with a connector that calls it below `/api/v3`, like an Enterprise Server.
pub(super) async fn github() -> (MockServer, GitHub, Arc<NoopLimiter>) {
    let server = MockServer::start().await;
    let (github, rate_limiter) = connector(&server.uri(), &format!("{}/api/v3", server.uri()));
    (server, github, rate_limiter)
}
