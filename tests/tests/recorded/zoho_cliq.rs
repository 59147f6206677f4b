//! Recordings of Zoho Cliq: payloads of bot handlers, documented responses and errors.

mod deliveries;
mod responses;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use shared::connectors::Connector;
use shared::model::ExternalAccount;

use crate::provider::connector_at;

/// A connector with a base URL of Zoho.
fn cliq(base: &str, now: DateTime<Utc>) -> Arc<dyn Connector> {
    let settings = [
        ("POBLYSH_ZOHO_CLIENT_ID", "client"),
        (
            "POBLYSH_ZOHO_CLIENT_SECRET",
            "the client secret of these tests",
        ),
        ("POBLYSH_ZOHO_BASE_URL", base),
    ];
    connector_at("zoho_cliq", &settings, now)
}

/// An account of no particular organization.
fn account() -> ExternalAccount {
    ExternalAccount {
        settings: json!({ "data_center": "us", "zuid": "1001" }),
        ..ExternalAccount::from_route("us:1001")
    }
}
