//! Tests of requests, actions and pushes.

mod acts;
mod pushes;

use axum::http::StatusCode;
use reqwest::Client;
use serde_json::{Value, json};

use super::Gmail;
use crate::google::api::{Call, Endpoint};
use crate::google::tokens::{Caller, Code};
use crate::{Config, Entry, Filter, Simulator, start};

const ADMIN: &str = "admin@team-1.example";
const READONLY: &str = "https://www.googleapis.com/auth/gmail.readonly";
const METADATA: &str = "https://www.googleapis.com/auth/gmail.metadata";

/// Runs a test with a request that has this query.
pub(super) fn with_call<R>(query: &str, run: impl FnOnce(&Call<'_>) -> R) -> R {
    let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let caller = Caller {
        sub: "1".to_owned(),
        scopes: [].into(),
    };
    run(&Call {
        caller: &caller,
        endpoint: Endpoint {
            id: "gmail.users.messages.list",
            units: 5,
            scopes: &[],
            default_fields: None,
            requires_fields: false,
        },
        parts: &["users", "me"],
        query: &query,
        body: &Value::Null,
    })
}

/// A simulator with the access token of an organization's administrator.
struct Fixture {
    simulator: Simulator,
    client: Client,
    token: String,
    sub: String,
}

async fn fixture(change: impl FnOnce(&mut Config)) -> Fixture {
    let mut config = Config {
        seed: Some(7),
        accounts: 1,
        people: 1,
        ..Config::default()
    };
    change(&mut config);
    let simulator = start(config).await.expect("a simulator");
    let client = Client::builder().no_proxy().build().expect("a client");
    let person = gmail(&simulator).find_person(ADMIN).expect("a person");
    let token = grant(&simulator, &person.sub, &[READONLY]);
    Fixture {
        simulator,
        client,
        token,
        sub: person.sub,
    }
}

fn gmail(simulator: &Simulator) -> &Gmail {
    &simulator.providers.gmail
}

/// Grants scopes and returns an access token.
fn grant(simulator: &Simulator, sub: &str, scopes: &[&str]) -> String {
    let google = &gmail(simulator).google;
    let mut guard = google.state();
    let state = &mut *guard;
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let code = Code {
        sub: sub.to_owned(),
        scopes,
        redirect_uri: String::new(),
        challenge: None,
        nonce: None,
        is_offline: false,
        expires_at: i64::MAX,
    };
    let scopes = code.scopes.clone();
    state.tokens.store_consent(code, &mut state.rng);
    state
        .tokens
        .issue_access(sub, &scopes, i64::MAX, &mut state.rng)
}

impl Fixture {
    async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let response = self.client.post(url).json(&body).send().await;
        let response = response.expect("a response");
        let status = response.status();
        let body: Value = response.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    async fn act(&self, action: &str, params: Value) -> Value {
        let mut body = json!({ "account": ADMIN, "action": action });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(params.as_object().cloned().unwrap_or_default());
        self.control("gmail/act", body).await
    }

    /// Id of the message that an action has changed.
    async fn act_id(&self, action: &str, params: Value) -> String {
        let result = self.act(action, params).await;
        result["object"]["id"].as_str().expect("an id").to_owned()
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let url = format!("{}/google{path}", self.simulator.base_url());
        let method = method.parse().expect("a method");
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("a response");
        let status = response.status();
        let body = response.bytes().await.expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// A response of a mailbox's resource.
    async fn get(&self, path: &str) -> Value {
        let path = format!("/gmail/v1/users/me/{path}");
        let (status, body) = self.call("GET", &path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    async fn status(&self, path: &str) -> StatusCode {
        let path = format!("/gmail/v1/users/me/{path}");
        self.call("GET", &path, None).await.0
    }

    fn ledger(&self) -> Vec<Entry> {
        self.simulator.ledger(&Filter {
            source: Some("gmail".to_owned()),
            ..Filter::default()
        })
    }

    /// The row of a message.
    fn row(&self, id: &str) -> Option<Entry> {
        let key = format!("gmail:{}:message:{id}", self.sub);
        let mut rows = self.ledger().into_iter();
        rows.find(|entry| entry.dedupe_key == key)
    }

    /// Whether the API shows a message as a fact.
    fn is_shown(&self, id: &str) -> bool {
        self.row(id).is_some_and(|row| row.poll)
    }
}

/// Ids that a response's list of messages has.
fn ids(page: &Value) -> Vec<String> {
    let rows = page["messages"].as_array().cloned().unwrap_or_default();
    rows.iter()
        .map(|row| row["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn requests_need_token_scope_and_own_address() {
    let fixture = fixture(|_| {}).await;
    let profile = fixture.get("profile").await;
    assert_eq!(profile["emailAddress"], ADMIN);
    let path = format!("/gmail/v1/users/{ADMIN}/profile");
    assert_eq!(fixture.call("GET", &path, None).await.0, StatusCode::OK);
    let path = "/gmail/v1/users/dev-1@team-1.example/profile";
    let (status, body) = fixture.call("GET", path, None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(body["error"]["errors"][0]["reason"], "forbidden");
    let stranger = Fixture {
        token: "unknown".to_owned(),
        ..fixture
    };
    assert_eq!(stranger.status("profile").await, StatusCode::UNAUTHORIZED);
    let unrelated = Fixture {
        token: grant(&stranger.simulator, &stranger.sub, &["openid"]),
        ..stranger
    };
    let (status, body) = unrelated
        .call("GET", "/gmail/v1/users/me/history", None)
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let reason = &body["error"]["details"][0]["reason"];
    assert_eq!(reason, "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
}

#[tokio::test]
async fn metadata_scope_restricts_broader_ones() {
    let mut fixture = fixture(|_| {}).await;
    let id = fixture.act_id("mail.received", json!({})).await;
    let full = format!("messages/{id}");
    assert_eq!(fixture.status(&full).await, StatusCode::OK);
    assert_eq!(fixture.status("messages?q=in:inbox").await, StatusCode::OK);
    fixture.token = grant(&fixture.simulator, &fixture.sub, &[READONLY, METADATA]);
    assert_eq!(fixture.status(&full).await, StatusCode::FORBIDDEN);
    let (status, body) = fixture
        .call("GET", "/gmail/v1/users/me/messages?q=in:inbox", None)
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(body["error"]["status"], "PERMISSION_DENIED");
    let metadata = format!("{full}?format=metadata&metadataHeaders=subject");
    assert_eq!(fixture.status(&metadata).await, StatusCode::OK);
}

#[tokio::test]
async fn batch_charges_each_of_its_requests() {
    let fixture = fixture(|_| {}).await;
    let id = fixture.act_id("mail.received", json!({})).await;
    let part = |number: usize, path: &str| {
        format!(
            "--b\r\nContent-Type: application/http\r\nContent-ID: <x + {number}>\r\n\r\n\
             GET {path} HTTP/1.1\r\nAccept: application/json\r\n\r\n\r\n"
        )
    };
    let path = format!("/google/gmail/v1/users/me/messages/{id}?format=minimal");
    let unknown = "/gmail/v1/users/me/messages/1";
    let body = part(1, &path) + &part(2, unknown) + &part(3, &path) + "--b--\r\n";
    let url = format!("{}/google/batch", fixture.simulator.base_url());
    let request = fixture.client.post(url).bearer_auth(&fixture.token);
    let request = request.header("content-type", "multipart/mixed; boundary=\"b\"");
    let response = request.body(body).send().await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    let text = response.text().await.expect("a text");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert_eq!(text.matches("HTTP/1.1 404 Not Found").count(), 1, "{text}");
    assert!(text.contains("Content-ID: <response-x + 2>"), "{text}");
    let usage = fixture.simulator.usage("gmail", &fixture.sub);
    assert_eq!(usage.limits["user"].used, 40, "{usage:?}");
}

#[tokio::test]
async fn mailbox_of_100_000_messages_is_compact() {
    let fixture = fixture(|config| {
        config.history = 20;
        config.providers.gmail.old_mails = 100_000;
    })
    .await;
    let profile = fixture.get("profile").await;
    let total = profile["messagesTotal"].as_u64().expect("a number");
    assert!(total >= 100_015, "{total}");
    let threads = profile["threadsTotal"].as_u64().expect("a number");
    assert!((60_000..80_000).contains(&threads), "{threads}");
    {
        let world = gmail(&fixture.simulator).world();
        let mailbox = &world.mailboxes[&fixture.sub];
        let written = mailbox.messages.values();
        let written = written.filter(|message| message.written.is_some());
        assert!(written.count() <= 20);
        assert!(size_of::<super::mailbox::Message>() <= 80);
    }
    assert!(fixture.ledger().len() <= 20, "old mails are no facts");
    let page = fixture.get("messages?maxResults=500").await;
    let ids = ids(&page);
    assert_eq!(ids.len(), 500);
    let token = page["nextPageToken"].as_str().expect("a token");
    let next = format!("messages?maxResults=500&pageToken={token}");
    let next = fixture.get(&next).await;
    assert!(!super::tests::ids(&next).contains(&ids[499]));
    let old = fixture.get(&format!("messages/{}", ids[499])).await;
    assert!(old["payload"]["headers"].is_array());
}
