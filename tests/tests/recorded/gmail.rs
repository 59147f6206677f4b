//! Recordings of Gmail: pushes of Pub/Sub, and responses of the API.

mod pushes;
mod responses;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use shared::connectors::Connector;

use crate::provider::connector_at;

const AUDIENCE: &str = "https://hooks.example.org/webhooks/gmail";
const SERVICE_ACCOUNT: &str = "push@project.iam.gserviceaccount.com";

/// A connector with a base URL of Google.
fn gmail(base: &str, now: DateTime<Utc>) -> Arc<dyn Connector> {
    let settings = [
        ("POBLYSH_GOOGLE_CLIENT_ID", "client"),
        (
            "POBLYSH_GOOGLE_CLIENT_SECRET",
            "the client secret of these tests",
        ),
        ("POBLYSH_GOOGLE_AUTH_BASE_URL", base),
        ("POBLYSH_GOOGLE_TOKEN_BASE_URL", base),
        ("POBLYSH_GOOGLE_USERINFO_BASE_URL", base),
        ("POBLYSH_GOOGLE_API_BASE_URL", base),
        ("POBLYSH_GOOGLE_GMAIL_API_BASE_URL", base),
        ("POBLYSH_GMAIL_PUSH_ACCOUNT", SERVICE_ACCOUNT),
        ("POBLYSH_GMAIL_PUSH_AUDIENCE", AUDIENCE),
    ];
    connector_at("gmail", &settings, now)
}
