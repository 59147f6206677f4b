//! Tests of the family and of Drive over HTTP, with a receiver for messages.

mod channels;
mod drive;
mod oauth;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use crate::{Config, Entry, Filter, Simulator, start};

const CALLBACK: &str = "http://127.0.0.1:8080/v1/connect/google_drive/callback";
const METADATA: &str = "https://www.googleapis.com/auth/drive.metadata.readonly";
const SCOPE: &str = "openid email https://www.googleapis.com/auth/drive.metadata.readonly";

/// Headers of received messages.
type Messages = Arc<Mutex<Vec<BTreeMap<String, String>>>>;

struct Fixture {
    simulator: Simulator,
    client: Client,
    messages: Messages,
    receiver: String,
    /// People of the only account: id and address.
    people: Vec<(String, String)>,
}

/// Starts a simulator with one account, and a receiver that responds with `status`.
async fn fixture(status: StatusCode) -> Fixture {
    let messages = Messages::default();
    let seen = Arc::clone(&messages);
    let routes = Router::new().route(
        "/push",
        post(move |headers: HeaderMap| {
            let text = |name: &axum::http::HeaderName| {
                let value = headers.get(name).and_then(|value| value.to_str().ok());
                (name.to_string(), value.unwrap_or_default().to_owned())
            };
            let message = headers.keys().map(text).collect();
            seen.lock().expect("the messages").push(message);
            async move { status }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let simulator = start(Config {
        seed: Some(7),
        accounts: 1,
        people: 2,
        ..Config::default()
    })
    .await
    .expect("a simulator");
    simulator.shorten_retry_delays();
    let client = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .build()
        .expect("a client");
    let mut fixture = Fixture {
        simulator,
        client,
        messages,
        receiver: format!("http://{address}/push"),
        people: Vec::new(),
    };
    let accounts = fixture.control_get("google_drive/accounts").await;
    let people = accounts["accounts"][0]["people"].as_array().cloned();
    fixture.people = people
        .expect("people")
        .iter()
        .map(|person| (text(person, "login"), text(person, "address")))
        .collect();
    fixture
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

async fn json_of(response: Response) -> Value {
    response.json().await.expect("JSON")
}

impl Fixture {
    fn url(&self, path: &str) -> String {
        format!("{}/google{path}", self.simulator.base_url())
    }

    fn env(&self, name: &str) -> String {
        let env = self.simulator.env();
        let variable = env
            .into_iter()
            .find(|(known, _)| known == &format!("POBLYSH_GOOGLE_{name}"));
        variable.expect("a variable").1
    }

    async fn control_get(&self, path: &str) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        json_of(self.client.get(url).send().await.expect("a response")).await
    }

    async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let request = self.client.post(url).json(&body);
        let response = request.send().await.expect("a response");
        let status = response.status();
        let body = response.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// An action of the administrator.
    async fn act(&self, action: &str, params: Value) -> Value {
        let mut body = json!({ "account": self.people[0].0, "action": action });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(params.as_object().cloned().unwrap_or_default());
        self.control("google_drive/act", body).await
    }

    /// Where the consent page leads; `extra` are more parameters.
    async fn authorize(&self, person: usize, scope: &str, extra: &[(&str, &str)]) -> Response {
        let client = self.env("CLIENT_ID");
        let mut fields = vec![
            ("client_id", client.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", scope),
            ("state", "s"),
            ("access_type", "offline"),
        ];
        fields.retain(|(name, _)| extra.iter().all(|(other, _)| other != name));
        fields.extend_from_slice(extra);
        let url = Url::parse_with_params(&self.url("/o/oauth2/v2/auth"), fields);
        let cookie = format!("user_session={}", self.people[person].1);
        let request = self
            .client
            .get(url.expect("a URL"))
            .header("cookie", cookie);
        request.send().await.expect("a response")
    }

    async fn token(&self, fields: &[(&str, &str)]) -> Response {
        let (id, secret) = (self.env("CLIENT_ID"), self.env("CLIENT_SECRET"));
        let mut form = vec![
            ("client_id", id.as_str()),
            ("client_secret", secret.as_str()),
        ];
        form.extend_from_slice(fields);
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self.client.post(self.url("/token"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.expect("a response")
    }

    async fn exchange(&self, code: &str) -> Response {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
        ])
        .await
    }

    async fn refresh(&self, token: &str) -> Response {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            .await
    }

    /// Tokens of a consent.
    async fn connect(&self, person: usize, scope: &str) -> Value {
        let page = self
            .authorize(person, scope, &[("prompt", "consent")])
            .await;
        let code = query(&page, "code").expect("a code");
        json_of(self.exchange(&code).await).await
    }

    async fn get(&self, tokens: &Value, path: &str) -> Response {
        let request = self.client.get(self.url(path));
        let request = request.bearer_auth(text(tokens, "access_token"));
        request.send().await.expect("a response")
    }

    async fn get_json(&self, tokens: &Value, path: &str) -> Value {
        let response = self.get(tokens, path).await;
        let status = response.status();
        let body = json_of(response).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    async fn post(&self, tokens: &Value, path: &str, body: &Value) -> Response {
        let request = self.client.post(self.url(path)).json(body);
        let request = request.bearer_auth(text(tokens, "access_token"));
        request.send().await.expect("a response")
    }

    /// Ledger rows of a person.
    fn ledger(&self, person: usize) -> Vec<Entry> {
        self.simulator.ledger(&Filter {
            source: Some("google_drive".to_owned()),
            account: Some(self.people[person].0.clone()),
            ..Filter::default()
        })
    }

    /// Messages after all deliveries.
    async fn delivered_messages(&self) -> Vec<BTreeMap<String, String>> {
        self.control("quiesce", json!({})).await;
        self.messages.lock().expect("the messages").clone()
    }
}

/// A field of the query that a redirect adds.
fn query(response: &Response, name: &str) -> Option<String> {
    let location = response.headers().get("location")?.to_str().ok()?;
    let url = Url::parse(location).expect("a URL");
    let mut fields = url.query_pairs();
    fields
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}
