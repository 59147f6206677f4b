//! Tests of the connector with payloads and a mock server.

mod connect;
mod first_read;
mod golden;
mod properties;
mod settings;
mod sync;

pub(in crate::connectors) use crate::connectors::google::tests::settings;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use wiremock::MockServer;

use super::Gmail;
use super::settings::AppSettings;
use crate::clock::{ManualClock, SharedClock};
use crate::connectors::testing::{NoopLimiter, read_settings};
use crate::connectors::{Access, ConnectorDeps};
use crate::model::ExternalAccount;

const TOPIC: &str = "projects/the-project/topics/gmail";
const SUB: &str = "110248495921238986420";

/// Time of these tests.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_100, 0).expect("a timestamp")
}

/// Builds a connector that calls Google at this address, with further settings.
fn connector(base: &str, further: &[(&'static str, &str)]) -> Gmail {
    connector_with_clock(base, further, Arc::new(ManualClock::new(now())))
}

fn connector_with_clock(base: &str, further: &[(&'static str, &str)], clock: SharedClock) -> Gmail {
    let mut pairs = settings(base);
    pairs.extend(
        further
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    let app = read_settings::<AppSettings, _>(&pairs);
    let app = app.expect("valid settings").app.expect("an app");
    let deps = ConnectorDeps {
        clock,
        rate_limiter: Arc::new(NoopLimiter::default()),
    };
    Gmail::new(app, &deps).expect("a connector")
}

/// Starts a mock server and builds a connector that calls it.
async fn gmail(further: &[(&'static str, &str)]) -> (MockServer, Gmail) {
    let server = MockServer::start().await;
    let gmail = connector(&server.uri(), further);
    (server, gmail)
}

fn account() -> ExternalAccount {
    ExternalAccount {
        id: SUB.to_owned(),
        name: "Ada@Acme.example".to_owned(),
        stable_id: SUB.to_owned(),
        settings: json!({ "address": "Ada@Acme.example" }),
    }
}

fn access() -> Access {
    Access {
        account: account(),
        token: "a-token".into(),
        user_token: None,
    }
}
