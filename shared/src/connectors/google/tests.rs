//! Tests of the parts that Google's products share.

mod auth;
mod channels;
mod pushes;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Client, GoogleApp, Hosts};
use crate::connectors::testing::{Settings, deps};
use crate::connectors::{Access, OAuthClient};
use crate::model::ExternalAccount;

/// Settings of the client, with all of Google's hosts at this address.
pub(in crate::connectors) fn settings(base: &str) -> Settings {
    let host = |name| (name, base.to_owned());
    vec![
        ("GOOGLE_CLIENT_ID", "client-id".to_owned()),
        ("GOOGLE_CLIENT_SECRET", "google-client-secret".to_owned()),
        host("GOOGLE_AUTH_BASE_URL"),
        host("GOOGLE_TOKEN_BASE_URL"),
        host("GOOGLE_USERINFO_BASE_URL"),
        host("GOOGLE_API_BASE_URL"),
        host("GOOGLE_GMAIL_API_BASE_URL"),
    ]
}

const SLUG: &str = "google_any";

fn now() -> DateTime<Utc> {
    "2026-11-23T10:00:00Z".parse().expect("a time")
}

/// An app whose hosts are paths of a mock server.
struct Family {
    server: MockServer,
    app: GoogleApp,
    client: Client,
}

impl Family {
    async fn start() -> Self {
        let server = MockServer::start().await;
        let host = |name: &str| Url::parse(&format!("{}/{name}", server.uri())).expect("a URL");
        let hosts = Hosts {
            auth: host("auth"),
            token: host("oauth"),
            userinfo: host("userinfo"),
            api: host("api"),
            gmail: host("gmail"),
        };
        let (deps, _) = deps(now());
        let client = Client::new(deps.outbound(SLUG), hosts.clone()).expect("a client");
        let app = GoogleApp {
            client: OAuthClient {
                id: "client-id".to_owned(),
                secrets: ["the-new-client-secret", "the-old-client-secret"]
                    .map(SecretString::from)
                    .into(),
            },
            webhook_secrets: secrets(&["the-new-channel-secret", "the-old-channel-secret"]),
            hosts,
        };
        Self {
            server,
            app,
            client,
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
}

fn secrets(texts: &[&str]) -> Vec<SecretString> {
    texts.iter().copied().map(SecretString::from).collect()
}

fn account() -> ExternalAccount {
    ExternalAccount {
        id: "1001".to_owned(),
        name: "ada@example.com".to_owned(),
        stable_id: "1001".to_owned(),
        settings: json!({}),
    }
}

fn access() -> Access {
    Access {
        account: account(),
        token: "a-token".into(),
        user_token: None,
    }
}
