//! Tests of the connector with payloads and a mock server.

mod connect;
mod field;
mod golden;
mod odd;
mod properties;
mod pushes;
mod sync;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use url::Url;
use wiremock::MockServer;

use super::Jira;
use super::subscriptions::desired_subscriptions;
use crate::connectors::testing::{NoopLimiter, Settings, build};
use crate::connectors::{Access, Directory, SubscribeRequest};
use crate::model::{DirectoryEntry, DirectoryKey, DirectoryKind, ExternalAccount};

/// Time of these tests, at which the example token is valid.
pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_100, 0).expect("a timestamp")
}

/// Settings of Jira with Atlassian at this address.
pub(in crate::connectors) fn settings(base: &str) -> Settings {
    vec![
        ("JIRA_CLIENT_ID", "client-id".to_owned()),
        (
            "JIRA_CLIENT_SECRET",
            "jira-client-secret,the-old-client-secret".to_owned(),
        ),
        ("JIRA_AUTH_BASE_URL", format!("{base}/auth")),
        ("JIRA_API_BASE_URL", format!("{base}/api")),
    ]
}

/// Builds a connector that calls Atlassian at this address.
pub(super) fn connector(base: &str) -> (Jira, Arc<NoopLimiter>) {
    build(&settings(base), now(), Jira::new)
}

/// Starts a mock server and builds a connector that calls it.
pub(super) async fn jira() -> (MockServer, Jira, Arc<NoopLimiter>) {
    let server = MockServer::start().await;
    let (jira, rate_limiter) = connector(&server.uri());
    (server, jira, rate_limiter)
}

/// The site of these tests.
pub(super) fn account() -> ExternalAccount {
    ExternalAccount {
        id: "cloud-1".to_owned(),
        name: "acme".to_owned(),
        stable_id: "cloud-1".to_owned(),
        settings: json!({
            "url": "https://acme.atlassian.net",
            "time_zone": "America/Los_Angeles",
            "account_id": "712020:ada",
        }),
    }
}

pub(super) fn access() -> Access {
    Access {
        account: account(),
        token: "a-token".into(),
        user_token: None,
    }
}

/// A request for the subscription of one project.
pub(super) fn subscribe_request() -> SubscribeRequest {
    SubscribeRequest {
        spec: desired_subscriptions(vec!["ENG".to_owned()]).remove(0),
        planned_id: None,
        webhook_url: Url::parse("https://hooks.example/webhooks/jira").expect("a URL"),
    }
}

/// Statuses and issues of the site.
pub(super) fn directory() -> Directory {
    let status = |id: &str, category: Option<&str>| DirectoryEntry {
        key: DirectoryKey::new(DirectoryKind::Status, id),
        name: None,
        detail: json!({ "category": category }),
    };
    Directory::of([
        status("10000", Some("new")),
        status("10001", Some("indeterminate")),
        status("10002", Some("done")),
        status("10777", None),
        DirectoryEntry {
            key: DirectoryKey::new(DirectoryKind::Issue, "20001"),
            name: Some("ENG-7".to_owned()),
            detail: json!({
                "summary": "The valve leaks",
                "project": { "id": "10001", "key": "ENG", "name": "Engineering" },
            }),
        },
    ])
}
