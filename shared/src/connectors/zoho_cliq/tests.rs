//! Tests of the Zoho Cliq connector against a mock server.

mod connect;
mod errors;
mod forgery;
mod golden;
mod lists;
mod pages;
mod properties;
mod pushes;
mod settings;
mod sync;
mod threads;

pub(in crate::connectors) use crate::connectors::zoho::tests::settings as family_settings;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use wiremock::MockServer;

use super::ZohoCliq;
use super::settings::AppSettings;
use crate::connectors::testing::{NoopLimiter, Settings, build};
use crate::connectors::{Access, SyncRequest};
use crate::http::Priority;
use crate::model::{ExternalAccount, StreamSpec};

/// Id of the organization in the payloads.
const ORGANIZATION: &str = "64800112";
/// Chat id of a channel in the payloads.
const CHANNEL: &str = "CT_2230144078925174402_64800112";
/// Time of a message in the payloads, in milliseconds.
const TIME: i64 = 1_800_000_000_123;

/// Settings of this provider for tests.
pub(in crate::connectors) fn settings(base: &str) -> Settings {
    family_settings(base)
}

/// Time of these tests.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(TIME).expect("a time") + TimeDelta::minutes(5)
}

/// The time before which messages are not facts.
fn floor() -> DateTime<Utc> {
    now() - TimeDelta::days(30)
}

fn connector(base: &str) -> (ZohoCliq, Arc<NoopLimiter>) {
    build::<AppSettings, _>(&settings(base), now(), ZohoCliq::new)
}

/// Starts a mock server and builds a connector that calls it.
async fn cliq() -> (MockServer, ZohoCliq) {
    let server = MockServer::start().await;
    let (cliq, _) = connector(&server.uri());
    (server, cliq)
}

fn account() -> ExternalAccount {
    ExternalAccount {
        id: "eu:64800201".to_owned(),
        name: "ada@example.com".to_owned(),
        stable_id: "eu:64800201".to_owned(),
        settings: json!({
            "data_center": "eu", "zuid": "64800201", "organization_id": ORGANIZATION,
            "rejected_scopes": [],
        }),
    }
}

fn request(stream: &str, target: Value, cursor: Option<Value>) -> SyncRequest {
    SyncRequest {
        access: Access {
            account: account(),
            token: "a-token".into(),
            user_token: None,
        },
        stream: StreamSpec {
            key: stream.to_owned(),
            resource_id: None,
            target,
        },
        cursor,
        backfill_from: floor(),
        upper_bound: now(),
        resync_from: None,
        reconcile_from: None,
        failures: 0,
        priority: Priority::Poll,
        directory: Arc::default(),
    }
}
