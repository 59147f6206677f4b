//! Tests of the connector with payloads and a mock server.

mod connect;
mod directory;
mod field;
mod golden;
mod grant;
mod lists;
mod properties;
mod user_token;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use wiremock::MockServer;

use super::Slack;
use crate::connectors::Directory;
use crate::connectors::testing::{NoopLimiter, Settings, build};
use crate::model::{DirectoryEntry, DirectoryKey, DirectoryKind, ExternalAccount};

pub(super) const SIGNING_SECRET: &str = "test-signing-secret";

/// Time of these tests: that of the documented signature example.
pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a timestamp")
}

/// Settings of Slack at this address.
pub(in crate::connectors) fn settings(base: &str) -> Settings {
    [
        ("SLACK_APP_ID", "A0POBLYSH"),
        ("SLACK_CLIENT_ID", "111.222"),
        (
            "SLACK_CLIENT_SECRET",
            "the-new-client-secret,the-old-client-secret",
        ),
        ("SLACK_WEBHOOK_SECRET", SIGNING_SECRET),
        ("SLACK_APP_TOKEN", "xapp-token-of-tests"),
        ("SLACK_BASE_URL", base),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// Builds a connector that calls Slack at this address.
pub(super) fn connector(
    base: &str,
    overrides: &[(&'static str, &str)],
) -> (Slack, Arc<NoopLimiter>) {
    let mut pairs = settings(base);
    pairs.retain(|(name, _)| !overrides.iter().any(|(other, _)| other == name));
    let set = overrides.iter().filter(|(_, value)| !value.is_empty());
    pairs.extend(set.map(|(name, value)| (*name, (*value).to_owned())));
    build(&pairs, now(), Slack::new)
}

/// Starts a mock server and builds a connector that calls it.
pub(super) async fn slack() -> (MockServer, Slack, Arc<NoopLimiter>) {
    let server = MockServer::start().await;
    let (slack, rate_limiter) = connector(&server.uri(), &[]);
    (server, slack, rate_limiter)
}

/// The workspace of these tests.
pub(super) fn account() -> ExternalAccount {
    ExternalAccount {
        id: "T0ACME".to_owned(),
        name: "Acme".to_owned(),
        stable_id: "T0ACME".to_owned(),
        settings: json!({
            "url": "https://acme.slack.com/",
            "bot_user_id": "U0BOT",
            "installer_id": "U0ADA",
            "organization": false,
        }),
    }
}

/// Names of its users and channels.
pub(super) fn directory() -> Directory {
    let entry = |kind, id: &str, name: Option<&str>, bot| DirectoryEntry {
        key: DirectoryKey::new(kind, id),
        name: name.map(str::to_owned),
        detail: json!({ "is_bot": bot }),
    };
    Directory::of([
        entry(DirectoryKind::User, "U0ADA", Some("ada"), false),
        entry(DirectoryKind::User, "U0BOB", Some("bob"), false),
        entry(DirectoryKind::User, "U0BOT", Some("poblysh"), true),
        entry(DirectoryKind::User, "U0FOREIGN", None, false),
        entry(DirectoryKind::Channel, "C0GENERAL", Some("general"), false),
        entry(DirectoryKind::Channel, "C0NEW", Some("pumps"), false),
        entry(DirectoryKind::Channel, "D0ADA", None, false),
    ])
}
