//! Tests of the Zoho Mail connector against a mock server.

mod connect;
mod folder;
mod golden;
mod properties;
mod settings;
mod sync;
mod walk;

pub(in crate::connectors) use crate::connectors::zoho::tests::settings;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use wiremock::MockServer;

use super::ZohoMail;
use super::settings::AppSettings;
use crate::connectors::Access;
use crate::connectors::testing::build;
use crate::model::ExternalAccount;

/// The mailbox's id, beyond what a float can hold.
pub(super) const MAILBOX: &str = "2560636000000008002";
pub(super) const ZUID: &str = "60014123456";

/// Time of these tests.
pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_100, 0).expect("a timestamp")
}

/// The time before which mails are not facts.
fn floor() -> DateTime<Utc> {
    now() - TimeDelta::days(30)
}

/// Starts a mock server and builds a connector that calls it.
async fn zoho_mail() -> (MockServer, ZohoMail) {
    let server = MockServer::start().await;
    let (mail, _) = build::<AppSettings, _>(&settings(&server.uri()), now(), ZohoMail::new);
    (server, mail)
}

pub(super) fn account() -> ExternalAccount {
    ExternalAccount {
        id: format!("eu:{ZUID}"),
        name: "ada@acme.example".to_owned(),
        stable_id: format!("eu:{ZUID}"),
        settings: json!({
            "data_center": "eu", "zuid": ZUID,
            "account_id": MAILBOX, "address": "ada@acme.example",
        }),
    }
}

fn access() -> Access {
    Access {
        account: account(),
        token: "a-token".into(),
        user_token: None,
    }
}
