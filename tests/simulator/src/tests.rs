//! Tests of the simulator over HTTP, with a receiver for deliveries.

mod limits;
mod requests;
mod search;
mod sizes;
mod usage;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Config, Entry, Filter, Simulator, start};

const TEAM: &str = "team-1";

/// GUIDs and events of received deliveries, in order.
type Arrivals = Arc<Mutex<Vec<(String, String)>>>;

struct Fixture {
    simulator: Simulator,
    client: Client,
    arrivals: Arrivals,
}

/// Starts a simulator with one account, and a receiver that responds with `status`.
async fn fixture(status: StatusCode, history: usize) -> Fixture {
    let arrivals = Arrivals::default();
    let seen = Arc::clone(&arrivals);
    let receiver = Router::new().route(
        "/webhooks/github",
        post(move |headers: HeaderMap| {
            let text = |name: &str| {
                let value = headers.get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            };
            let arrival = (text("x-github-delivery"), text("x-github-event"));
            seen.lock().expect("the list of arrivals").push(arrival);
            async move { status }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let mut config = Config {
        webhook_url: Some(format!("http://{address}")),
        seed: Some(7),
        accounts: 1,
        history,
        ..Config::default()
    };
    config.providers.github.repositories = 1;
    let simulator = start(config).await.expect("a simulator");
    let client = Client::builder()
        .no_proxy()
        .user_agent("test")
        .build()
        .expect("a client");
    Fixture {
        simulator,
        client,
        arrivals,
    }
}

impl Fixture {
    async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let response = self
            .client
            .post(url)
            .json(&body)
            .send()
            .await
            .expect("a response");
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        response.json().await.expect("JSON")
    }

    async fn act(&self, action: &str, params: Value) -> Value {
        let mut body = json!({"account": TEAM, "action": action});
        let fields = body.as_object_mut().expect("an object");
        fields.extend(params.as_object().cloned().unwrap_or_default());
        let result = self.control("github/act", body).await;
        self.control("quiesce", json!({})).await;
        result
    }

    fn ledger(&self) -> Vec<Entry> {
        self.simulator.ledger(&Filter::default())
    }

    fn entry(&self, result: &Value) -> Entry {
        let key = result["facts"][0]["dedupe_key"].as_str().expect("a fact");
        self.ledger()
            .into_iter()
            .find(|entry| entry.dedupe_key == key)
            .expect("an entry")
    }

    fn env(&self, name: &str) -> String {
        let env = self.simulator.env();
        let variable = env
            .into_iter()
            .find(|(known, _)| known == &format!("POBLYSH_GITHUB_{name}"));
        variable.expect("a variable").1
    }

    async fn token(&self, installation: u64) -> String {
        let pem = STANDARD.decode(self.env("PRIVATE_KEY")).expect("base64");
        let key = EncodingKey::from_rsa_pem(&pem).expect("a key");
        let now = jsonwebtoken::get_current_timestamp();
        let claims = json!({"iss": self.env("APP_ID"), "iat": now - 60, "exp": now + 540});
        let jwt = encode(&Header::new(Algorithm::RS256), &claims, &key).expect("a JWT");
        let url = format!(
            "{}/app/installations/{installation}/access_tokens",
            self.env("API_BASE_URL")
        );
        let response = self
            .client
            .post(url)
            .bearer_auth(jwt)
            .send()
            .await
            .expect("a response");
        let token: Value = response.json().await.expect("JSON");
        token["token"].as_str().expect("a token").to_owned()
    }

    async fn get(&self, token: &str, url: &str) -> reqwest::Result<Response> {
        let accept = "application/vnd.github.star+json";
        self.client
            .get(url)
            .bearer_auth(token)
            .header("accept", accept)
            .send()
            .await
    }

    /// Installs the app and returns its installation and a token.
    async fn install(&self) -> (u64, String) {
        let result = self.act("installation.created", json!({})).await;
        let installation = result["object"]["installation_id"].as_u64().expect("an id");
        (installation, self.token(installation).await)
    }

    /// Fetches a path of the API, and returns the response and its JSON.
    async fn fetch(&self, token: &str, path: &str) -> (Response, Value) {
        let url = format!("{}{path}", self.env("API_BASE_URL"));
        let response = self.get(token, &url).await.expect("a response");
        let parts = axum::http::Response::builder().status(response.status());
        let headers = response.headers().clone();
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let mut rest = parts.body(Vec::new()).expect("a response");
        *rest.headers_mut() = headers;
        (rest.into(), body)
    }

    /// Fetches all pages of a list.
    async fn list_all(&self, token: &str, path: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut next = Some(format!("{}{path}", self.env("API_BASE_URL")));
        while let Some(url) = next {
            let response = self.get(token, &url).await.expect("a page");
            assert_eq!(response.status(), StatusCode::OK, "{url}");
            let link = response
                .headers()
                .get("link")
                .map(|link| link.to_str().expect("text").to_owned());
            next = link.as_deref().and_then(next_link);
            let page: Value = response.json().await.expect("JSON");
            let list = if page.is_array() {
                page
            } else {
                page["workflow_runs"].clone()
            };
            rows.extend(list.as_array().expect("a list").iter().cloned());
        }
        rows
    }
}

fn next_link(link: &str) -> Option<String> {
    let next = link
        .split(", ")
        .find(|part| part.ends_with("rel=\"next\""))?;
    Some(next.split_once('>')?.0.trim_start_matches('<').to_owned())
}

#[tokio::test]
async fn lists_show_exactly_the_pollable_facts() {
    let fixture = fixture(StatusCode::OK, 300).await;
    let result = fixture.act("installation.created", json!({})).await;
    fixture
        .control("github/generate", json!({"count": 400}))
        .await;
    let installation = result["object"]["installation_id"].as_u64().expect("an id");
    let token = fixture.token(installation).await;
    let base = format!("/repos/{TEAM}/service-1");
    for list in [
        "issues",
        "issues/comments",
        "pulls/comments",
        "releases",
        "actions/runs",
        "stargazers",
    ] {
        fixture
            .list_all(&token, &format!("{base}/{list}?state=all&per_page=10"))
            .await;
    }
    for pull in fixture
        .list_all(&token, &format!("{base}/pulls?state=all"))
        .await
    {
        fixture
            .list_all(&token, &format!("{base}/pulls/{}/reviews", pull["number"]))
            .await;
    }
    let ledger = fixture.ledger();
    let keys = |matches: fn(&Entry) -> bool| -> BTreeSet<&str> {
        let matching = ledger.iter().filter(|entry| matches(entry));
        matching.map(|entry| entry.dedupe_key.as_str()).collect()
    };
    assert_eq!(keys(|entry| entry.poll), keys(|entry| entry.polled));
    assert!(ledger.iter().filter(|entry| entry.poll).count() > 250);
    assert!(ledger.iter().any(|entry| entry.webhook && !entry.poll));
    assert!(ledger.iter().any(|entry| !entry.webhook && entry.poll));
}

#[tokio::test]
async fn later_events_hide_earlier_facts_from_polling() {
    let fixture = fixture(StatusCode::OK, 0).await;
    fixture.act("installation.created", json!({})).await;
    let opened = fixture.act("issues.opened", json!({})).await;
    let number = json!({"number": opened["object"]["number"]});
    let closed = fixture.act("issues.closed", number.clone()).await;
    let commented = fixture.act("issue_comment.created", number.clone()).await;
    assert!(fixture.entry(&closed).poll && fixture.entry(&commented).poll);
    let reopened = fixture.act("issues.reopened", number.clone()).await;
    assert!(!fixture.entry(&closed).poll && fixture.entry(&closed).webhook);
    assert!(!fixture.entry(&reopened).poll && fixture.entry(&reopened).webhook);
    fixture
        .act(
            "issue_comment.deleted",
            json!({"id": commented["object"]["id"]}),
        )
        .await;
    assert!(!fixture.entry(&commented).poll && fixture.entry(&opened).poll);
    fixture.act("issues.deleted", number).await;
    assert!(!fixture.entry(&opened).poll);
    let review = fixture
        .act(
            "pull_request_review.submitted",
            json!({"state": "approved"}),
        )
        .await;
    let reviewed = review["object"]["number"].clone();
    fixture
        .act("pull_request_review.dismissed", json!({"number": reviewed}))
        .await;
    let submitted = fixture
        .ledger()
        .into_iter()
        .find(|entry| entry.kind == "pr_reviewed");
    assert!(
        submitted.expect("a review").poll,
        "a dismissed review stays in the list"
    );
    fixture.act("installation.suspend", json!({})).await;
    assert!(fixture.ledger().iter().all(|entry| !entry.poll));
    let missed = fixture.act("issues.opened", json!({})).await;
    fixture.act("installation.unsuspend", json!({})).await;
    let entry = fixture.entry(&missed);
    assert!(!entry.webhook && entry.poll);
}

#[tokio::test]
async fn delivery_faults_drop_duplicate_and_reorder() {
    let fixture = fixture(StatusCode::OK, 0).await;
    fixture.act("installation.created", json!({})).await;
    let fault = |effect: &str| json!({"target": "delivery", "pattern": "issues.opened", "effect": effect, "count": 1, "seconds": 20});
    fixture.control("faults", fault("drop_silently")).await;
    let silent = fixture.act("issues.opened", json!({})).await;
    assert!(!fixture.entry(&silent).webhook && silent["deliveries"] == json!([]));
    fixture.control("faults", fault("drop")).await;
    let dropped = fixture.act("issues.opened", json!({})).await;
    assert!(fixture.entry(&dropped).webhook);
    fixture.control("faults", fault("duplicate")).await;
    let doubled = fixture.act("issues.opened", json!({})).await;
    let times = |result: &Value| {
        let arrivals = fixture.arrivals.lock().expect("the list of arrivals");
        arrivals
            .iter()
            .filter(|(guid, _)| result["deliveries"][0] == guid.as_str())
            .count()
    };
    assert_eq!((times(&dropped), times(&doubled)), (0, 2));
    fixture.control("faults", fault("reorder")).await;
    let body = json!({"account": TEAM, "action": "issues.opened"});
    let late = fixture.control("github/act", body).await;
    let early = fixture.act("star.created", json!({})).await;
    let position = |result: &Value| {
        let arrivals = fixture.arrivals.lock().expect("the list of arrivals");
        arrivals
            .iter()
            .position(|(guid, _)| result["deliveries"][0] == guid.as_str())
    };
    assert!(position(&early).expect("arrived") < position(&late).expect("arrived"));
}

#[tokio::test]
async fn response_faults_close_the_socket() {
    let fixture = fixture(StatusCode::OK, 30).await;
    let result = fixture.act("installation.created", json!({})).await;
    let installation = result["object"]["installation_id"].as_u64().expect("an id");
    let token = fixture.token(installation).await;
    let url = format!(
        "{}/repos/{TEAM}/service-1/issues?state=all",
        fixture.env("API_BASE_URL")
    );
    let fault = |effect: &str| json!({"target": "request", "pattern": "/issues", "effect": effect, "count": 1});
    for effect in ["reset", "lose_response"] {
        fixture.control("faults", fault(effect)).await;
        assert!(fixture.get(&token, &url).await.is_err(), "{effect}");
    }
    fixture.control("faults", fault("truncate")).await;
    let broken = fixture.get(&token, &url).await.expect("headers");
    assert!(
        broken.bytes().await.is_err(),
        "a truncated response is not an error"
    );
    let whole = fixture.get(&token, &url).await.expect("a response");
    assert_eq!(whole.status(), StatusCode::OK);
    fixture
        .control("clock", json!({"advance_seconds": 3_601}))
        .await;
    let late = fixture.get(&token, &url).await.expect("a response");
    assert_eq!(late.status(), StatusCode::UNAUTHORIZED);
    fixture.simulator.shutdown().await;
}

#[tokio::test]
async fn failed_github_delivery_is_not_retried() {
    let fixture = fixture(StatusCode::SERVICE_UNAVAILABLE, 0).await;
    fixture.act("installation.created", json!({})).await;
    let opened = fixture.act("issues.opened", json!({})).await;
    assert!(fixture.entry(&opened).webhook);
    assert_eq!(
        fixture.arrivals.lock().expect("the list of arrivals").len(),
        2
    );
}

#[tokio::test]
async fn same_seed_produces_the_same_facts() {
    let keys = |fixture: &Fixture| -> Vec<(String, String)> {
        fixture
            .ledger()
            .into_iter()
            .map(|entry| (entry.kind, entry.dedupe_key))
            .collect()
    };
    let (first, second) = (
        fixture(StatusCode::OK, 50).await,
        fixture(StatusCode::OK, 50).await,
    );
    let undated = |keys: Vec<(String, String)>| -> Vec<String> {
        keys.into_iter()
            .filter(|(_, key)| key.ends_with(":created"))
            .map(|(_, key)| key)
            .collect()
    };
    assert_eq!(undated(keys(&first)), undated(keys(&second)));
    assert_eq!(first.env("CLIENT_SECRET"), second.env("CLIENT_SECRET"));
}
