mod connect;
mod field;
mod golden;
mod lists;
mod person;
mod properties;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use wiremock::MockServer;

use super::Slack;
use super::settings::SlackSettings;
use crate::config::{Env, Reader};
use crate::connectors::testing::{OpenGate, deps};
use crate::connectors::{Directory, DirectoryEntry, DirectoryKey, DirectoryKind, ExternalAccount};

pub(super) const SIGNING_SECRET: &str = "test-signing-secret";

/// What time it is in these tests: that of the example's signature.
pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a moment")
}

/// A connector whose Slack is at this address.
pub(super) fn connector(base: &str, more: &[(&str, &str)]) -> (Slack, Arc<OpenGate>) {
    let mut pairs = vec![
        ("POBLYSH_SLACK_APP_ID", "A0POBLYSH"),
        ("POBLYSH_SLACK_CLIENT_ID", "111.222"),
        (
            "POBLYSH_SLACK_CLIENT_SECRET",
            "the-new-client-secret,the-old-client-secret",
        ),
        ("POBLYSH_SLACK_WEBHOOK_SECRET", SIGNING_SECRET),
        ("POBLYSH_SLACK_APP_TOKEN", "xapp-token-of-tests"),
        ("POBLYSH_SLACK_BASE_URL", base),
    ];
    pairs.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    pairs.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    let env = Env::from_pairs(pairs);
    let mut reader = Reader::new(&env);
    let settings = SlackSettings::from_reader(&mut reader);
    reader.finish().expect("settings that can be used");
    let (deps, gate) = deps(now());
    let app = settings.app.expect("Slack is configured");
    (Slack::new(app, &deps).expect("a connector"), gate)
}

/// A server, and a connector that calls it.
pub(super) async fn slack() -> (MockServer, Slack, Arc<OpenGate>) {
    let server = MockServer::start().await;
    let (slack, gate) = connector(&server.uri(), &[]);
    (server, slack, gate)
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

/// What is known of its people and channels.
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
