//! Connectors from the registry, and the account of the inputs.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use shared::clock::ManualClock;
use shared::config::{Env, Reader};
use shared::connectors::{Connector, ConnectorDeps, ConnectorSettings, Registry};
use shared::http::{Charge, LimitObservation, Permit, RateLimited, RateLimiter};
use shared::model::{DirectoryEntry, DirectoryKey, ExternalAccount};

/// Webhook secrets: the current and the previous one.
pub const WEBHOOK_SECRETS: [&str; 2] = ["the-present-secret", "the-former-secret"];
/// Client secrets, which also sign the tokens of Jira's subscriptions.
pub const CLIENT_SECRETS: [&str; 2] = ["the-present-client-secret", "the-former-client-secret"];
/// Private key for tests only.
const PRIVATE_KEY: &str = include_str!("../../shared/src/connectors/github/fixtures/test-app.pem");

/// The constant time of all targets, in seconds since 1970.
pub const NOW: i64 = 1_700_000_100;

/// [`NOW`] as a time.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).expect("a timestamp")
}

struct NoopLimiter;

#[async_trait]
impl RateLimiter for NoopLimiter {
    async fn admit(&self, _: &'static str, _: &Charge<'_>) -> Result<Permit, RateLimited> {
        Ok(Permit::default())
    }

    async fn observe(&self, _: &'static str, _: &Charge<'_>, _: LimitObservation) {}
}

/// Settings of every provider, with `base` as their base URL.
pub fn settings(base: &str) -> Vec<(String, String)> {
    let hooks = WEBHOOK_SECRETS.join(",");
    let clients = CLIENT_SECRETS.join(",");
    let pairs = [
        ("GITHUB_APP_ID", "12345"),
        ("GITHUB_APP_SLUG", "poblysh"),
        ("GITHUB_CLIENT_ID", "Iv1.client"),
        ("GITHUB_CLIENT_SECRET", &clients),
        ("GITHUB_WEBHOOK_SECRET", &hooks),
        ("GITHUB_PRIVATE_KEY", PRIVATE_KEY),
        ("GITHUB_WEB_BASE_URL", base),
        ("GITHUB_API_BASE_URL", base),
        ("SLACK_APP_ID", "A0POBLYSH"),
        ("SLACK_CLIENT_ID", "111.222"),
        ("SLACK_CLIENT_SECRET", &clients),
        ("SLACK_WEBHOOK_SECRET", &hooks),
        ("SLACK_APP_TOKEN", "xapp-token-of-tests"),
        ("SLACK_USER_SCOPES", "channels:history"),
        ("SLACK_BASE_URL", base),
        ("JIRA_CLIENT_ID", "client-id"),
        ("JIRA_CLIENT_SECRET", &clients),
        ("JIRA_AUTH_BASE_URL", base),
        ("JIRA_API_BASE_URL", base),
    ];
    let named = |(name, value): (&str, &str)| (format!("POBLYSH_{name}"), value.to_owned());
    pairs.into_iter().map(named).collect()
}

/// Builds a provider's connector with a constant clock.
pub fn connector(slug: &str, base: &str) -> Arc<dyn Connector> {
    let env = Env::from_pairs(settings(base));
    let mut reader = Reader::new(&env);
    let settings = ConnectorSettings::from_reader(&mut reader);
    reader.finish().expect("settings that can be used");
    let deps = ConnectorDeps {
        clock: Arc::new(ManualClock::new(now())),
        rate_limiter: Arc::new(NoopLimiter),
    };
    let registry = Registry::new(settings, &deps).expect("a registry");
    registry.get(slug).expect("the provider is configured")
}

/// Account with the settings of every provider.
pub fn account() -> ExternalAccount {
    ExternalAccount {
        id: "T0ACME".to_owned(),
        name: "acme".to_owned(),
        stable_id: "T0ACME".to_owned(),
        settings: json!({
            "url": "https://acme.example.com/",
            "bot_user_id": "U0BOT",
            "installer_id": "U0ADA",
            "organization": false,
            "time_zone": "America/Los_Angeles",
            "account_id": "712020:ada",
        }),
    }
}

/// Directory entry for a key; a third of the keys has no name.
pub fn directory_entry(key: DirectoryKey) -> DirectoryEntry {
    match key.id.len() % 3 {
        0 => DirectoryEntry::nameless(key),
        length => DirectoryEntry {
            name: Some(format!("the name of {}", key.id)),
            detail: json!({
                "is_bot": length == 1,
                "category": if length == 1 { "done" } else { "new" },
                "summary": "The valve leaks",
                "project": { "id": "10001", "key": "ENG", "name": "Engineering" },
            }),
            key,
        },
    }
}
