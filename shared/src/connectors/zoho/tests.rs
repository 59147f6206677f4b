//! Tests of what Zoho's products share.

mod auth;
mod calls;
mod settings;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::sync::Arc;
use url::Url;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Client, DataCenter, Hosts, PROFILE, Product, Site, ZohoApp};
use crate::connectors::testing::{NoopLimiter, Settings, deps};
use crate::connectors::{Access, OAuthClient};
use crate::model::{ExternalAccount, LimitScope};

/// Settings of the client, with all of Zoho's hosts below this address.
pub(in crate::connectors) fn settings(base: &str) -> Settings {
    vec![
        ("ZOHO_CLIENT_ID", "client-id".to_owned()),
        ("ZOHO_CLIENT_SECRET", "zoho-client-secret".to_owned()),
        ("ZOHO_BASE_URL", base.to_owned()),
    ]
}

const SLUG: &str = "zoho_any";
const READ: &str = "ZohoAny.things.READ";
const EXTRA: &str = "ZohoAny.extras.READ";

/// A product with another lock than the default of a limit.
pub(super) static PRODUCT: Product = Product {
    name: "Zoho Any",
    scopes: &[PROFILE, READ, EXTRA],
    needed: &[READ],
    access: "see your things",
    host: |hosts: &Hosts| &hosts.mail,
    lock: TimeDelta::minutes(15),
    lock_scope: LimitScope::Operation,
};

pub(super) fn now() -> DateTime<Utc> {
    "2026-11-23T10:00:00Z".parse().expect("a time")
}

/// An app whose hosts are paths of a mock server: `/{data center}/{host}`.
struct Family {
    server: MockServer,
    app: ZohoApp,
    client: Client,
    limiter: Arc<NoopLimiter>,
}

impl Family {
    async fn start() -> Self {
        let server = MockServer::start().await;
        let site = |data_center: DataCenter| {
            let host = |name: &str| {
                let url = format!("{}/{}/{name}", server.uri(), data_center.code());
                Url::parse(&url).expect("a URL")
            };
            Site {
                data_center,
                has_own_secret: true,
                hosts: Hosts {
                    accounts: host("accounts"),
                    api: host("api"),
                    cliq: host("cliq"),
                    mail: host("mail"),
                },
                client: OAuthClient {
                    id: "client-id".to_owned(),
                    secrets: ["new", "old"]
                        .map(|name| format!("{name}-secret-of-{}", data_center.code()).into())
                        .into(),
                },
            }
        };
        let app = ZohoApp {
            home: DataCenter::Us,
            sites: [DataCenter::Us, DataCenter::Eu, DataCenter::In]
                .map(site)
                .into(),
        };
        let (deps, limiter) = deps(now());
        let client = Client::new(deps.outbound(SLUG), &app, &PRODUCT).expect("a client");
        Self {
            server,
            app,
            client,
            limiter,
        }
    }

    async fn mock(&self, at: &str, status: u16, response: Value) {
        Mock::given(path(at))
            .respond_with(ResponseTemplate::new(status).set_body_json(response))
            .mount(&self.server)
            .await;
    }

    /// The bodies of the requests to a path, as text.
    async fn bodies(&self, at: &str) -> Vec<String> {
        let requests = self.server.received_requests().await.expect("requests");
        let received = requests.iter().filter(|request| request.url.path() == at);
        received
            .map(|request| String::from_utf8_lossy(&request.body).into_owned())
            .collect()
    }

    /// The number of requests of any kind.
    async fn requests(&self) -> usize {
        let requests = self.server.received_requests().await;
        requests.expect("requests").len()
    }

    /// A URL that a mocked response names.
    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.server.uri())
    }
}

fn account(data_center: &str) -> ExternalAccount {
    ExternalAccount {
        id: format!("{data_center}:1001"),
        name: "ada@example.com".to_owned(),
        stable_id: format!("{data_center}:1001"),
        settings: json!({ "data_center": data_center, "zuid": "1001" }),
    }
}

fn access(data_center: &str) -> Access {
    Access {
        account: account(data_center),
        token: "a-token".into(),
        user_token: None,
    }
}
