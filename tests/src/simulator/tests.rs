//! The simulator as its clients meet it: over HTTP, with a receiver for deliveries.

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

/// GUIDs and events in the order of their arrival.
type Arrivals = Arc<Mutex<Vec<(String, String)>>>;

struct Scene {
    simulator: Simulator,
    client: Client,
    arrivals: Arrivals,
}

/// A simulator with one account, and a receiver that answers `status`.
async fn scene(status: StatusCode, history: usize) -> Scene {
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
    let config = Config {
        webhook_url: Some(format!("http://{address}")),
        seed: Some(7),
        accounts: 1,
        repositories: 1,
        history,
        ..Config::default()
    };
    let simulator = start(config).await.expect("a simulator");
    let client = Client::builder()
        .no_proxy()
        .user_agent("test")
        .build()
        .expect("a client");
    Scene {
        simulator,
        client,
        arrivals,
    }
}

impl Scene {
    async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let response = self
            .client
            .post(url)
            .json(&body)
            .send()
            .await
            .expect("an answer");
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        response.json().await.expect("JSON")
    }

    async fn act(&self, action: &str, more: Value) -> Value {
        let mut body = json!({"account": TEAM, "action": action});
        let fields = body.as_object_mut().expect("an object");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.control("github/act", body).await;
        self.control("quiesce", json!({})).await;
        answer
    }

    fn ledger(&self) -> Vec<Entry> {
        self.simulator.ledger(&Filter::default())
    }

    fn entry(&self, answer: &Value) -> Entry {
        let key = answer["facts"][0]["dedupe_key"].as_str().expect("a fact");
        self.ledger()
            .into_iter()
            .find(|entry| entry.dedupe_key == key)
            .expect("an entry")
    }

    fn env(&self, name: &str) -> String {
        let env = self.simulator.env();
        let found = env
            .into_iter()
            .find(|(known, _)| known == &format!("POBLYSH_GITHUB_{name}"));
        found.expect("a variable").1
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
            .expect("an answer");
        let answer: Value = response.json().await.expect("JSON");
        answer["token"].as_str().expect("a token").to_owned()
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

    /// Installs the app and answers a token.
    async fn installed(&self) -> (u64, String) {
        let installed = self.act("installation.created", json!({})).await;
        let installation = installed["object"]["installation_id"]
            .as_u64()
            .expect("an id");
        (installation, self.token(installation).await)
    }

    /// A path of the API, and the answer's JSON.
    async fn ask(&self, token: &str, path: &str) -> (Response, Value) {
        let url = format!("{}{path}", self.env("API_BASE_URL"));
        let response = self.get(token, &url).await.expect("an answer");
        let parts = http::Response::builder().status(response.status());
        let headers = response.headers().clone();
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let mut rest = parts.body(Vec::new()).expect("a response");
        *rest.headers_mut() = headers;
        (rest.into(), body)
    }

    /// Follows a list to its end.
    async fn walk(&self, token: &str, path: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut next = Some(format!("{}{path}", self.env("API_BASE_URL")));
        while let Some(url) = next {
            let response = self.get(token, &url).await.expect("a page");
            assert_eq!(response.status(), StatusCode::OK, "{url}");
            let link = response
                .headers()
                .get("link")
                .map(|link| link.to_str().expect("text").to_owned());
            next = link.as_deref().and_then(next_of);
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

fn next_of(link: &str) -> Option<String> {
    let next = link
        .split(", ")
        .find(|part| part.ends_with("rel=\"next\""))?;
    Some(next.split_once('>')?.0.trim_start_matches('<').to_owned())
}

#[tokio::test]
async fn what_the_ledger_calls_pollable_is_what_the_lists_show() {
    let scene = scene(StatusCode::OK, 300).await;
    let installed = scene.act("installation.created", json!({})).await;
    scene
        .control("github/generate", json!({"count": 400}))
        .await;
    let installation = installed["object"]["installation_id"]
        .as_u64()
        .expect("an id");
    let token = scene.token(installation).await;
    let base = format!("/repos/{TEAM}/service-1");
    for list in [
        "issues",
        "issues/comments",
        "pulls/comments",
        "releases",
        "actions/runs",
        "stargazers",
    ] {
        scene
            .walk(&token, &format!("{base}/{list}?state=all&per_page=10"))
            .await;
    }
    for pull in scene.walk(&token, &format!("{base}/pulls?state=all")).await {
        scene
            .walk(&token, &format!("{base}/pulls/{}/reviews", pull["number"]))
            .await;
    }
    let ledger = scene.ledger();
    let keys = |wanted: fn(&Entry) -> bool| -> BTreeSet<&str> {
        let fitting = ledger.iter().filter(|entry| wanted(entry));
        fitting.map(|entry| entry.dedupe_key.as_str()).collect()
    };
    assert_eq!(keys(|entry| entry.poll), keys(|entry| entry.polled));
    assert!(ledger.iter().filter(|entry| entry.poll).count() > 250);
    assert!(ledger.iter().any(|entry| entry.webhook && !entry.poll));
    assert!(ledger.iter().any(|entry| !entry.webhook && entry.poll));
}

#[tokio::test]
async fn later_events_take_earlier_facts_out_of_sight_of_polling() {
    let scene = scene(StatusCode::OK, 0).await;
    scene.act("installation.created", json!({})).await;
    let opened = scene.act("issues.opened", json!({})).await;
    let number = json!({"number": opened["object"]["number"]});
    let closed = scene.act("issues.closed", number.clone()).await;
    let commented = scene.act("issue_comment.created", number.clone()).await;
    assert!(scene.entry(&closed).poll && scene.entry(&commented).poll);
    let reopened = scene.act("issues.reopened", number.clone()).await;
    assert!(!scene.entry(&closed).poll && scene.entry(&closed).webhook);
    assert!(!scene.entry(&reopened).poll && scene.entry(&reopened).webhook);
    scene
        .act(
            "issue_comment.deleted",
            json!({"id": commented["object"]["id"]}),
        )
        .await;
    assert!(!scene.entry(&commented).poll && scene.entry(&opened).poll);
    scene.act("issues.deleted", number).await;
    assert!(!scene.entry(&opened).poll);
    let review = scene
        .act(
            "pull_request_review.submitted",
            json!({"state": "approved"}),
        )
        .await;
    let reviewed = review["object"]["number"].clone();
    scene
        .act("pull_request_review.dismissed", json!({"number": reviewed}))
        .await;
    let submitted = scene
        .ledger()
        .into_iter()
        .find(|entry| entry.kind == "pr_reviewed");
    assert!(
        submitted.expect("a review").poll,
        "a dismissed review is still listed"
    );
    scene.act("installation.suspend", json!({})).await;
    assert!(scene.ledger().iter().all(|entry| !entry.poll));
    let unheard = scene.act("issues.opened", json!({})).await;
    scene.act("installation.unsuspend", json!({})).await;
    let entry = scene.entry(&unheard);
    assert!(!entry.webhook && entry.poll);
}

#[tokio::test]
async fn faulty_deliveries_are_lost_doubled_and_reordered_as_told() {
    let scene = scene(StatusCode::OK, 0).await;
    scene.act("installation.created", json!({})).await;
    let fault = |effect: &str| json!({"target": "delivery", "pattern": "issues.opened", "effect": effect, "count": 1, "seconds": 20});
    scene.control("faults", fault("drop_silently")).await;
    let silent = scene.act("issues.opened", json!({})).await;
    assert!(!scene.entry(&silent).webhook && silent["deliveries"] == json!([]));
    scene.control("faults", fault("drop")).await;
    let dropped = scene.act("issues.opened", json!({})).await;
    assert!(scene.entry(&dropped).webhook);
    scene.control("faults", fault("duplicate")).await;
    let doubled = scene.act("issues.opened", json!({})).await;
    let times = |answer: &Value| {
        let arrivals = scene.arrivals.lock().expect("the list of arrivals");
        arrivals
            .iter()
            .filter(|(guid, _)| answer["deliveries"][0] == guid.as_str())
            .count()
    };
    assert_eq!((times(&dropped), times(&doubled)), (0, 2));
    scene.control("faults", fault("reorder")).await;
    let body = json!({"account": TEAM, "action": "issues.opened"});
    let late = scene.control("github/act", body).await;
    let early = scene.act("star.created", json!({})).await;
    let position = |answer: &Value| {
        let arrivals = scene.arrivals.lock().expect("the list of arrivals");
        arrivals
            .iter()
            .position(|(guid, _)| answer["deliveries"][0] == guid.as_str())
    };
    assert!(position(&early).expect("arrived") < position(&late).expect("arrived"));
}

#[tokio::test]
async fn faulty_answers_break_off_where_told() {
    let scene = scene(StatusCode::OK, 30).await;
    let installed = scene.act("installation.created", json!({})).await;
    let installation = installed["object"]["installation_id"]
        .as_u64()
        .expect("an id");
    let token = scene.token(installation).await;
    let url = format!(
        "{}/repos/{TEAM}/service-1/issues?state=all",
        scene.env("API_BASE_URL")
    );
    let fault = |effect: &str| json!({"target": "request", "pattern": "/issues", "effect": effect, "count": 1});
    for effect in ["reset", "lose_response"] {
        scene.control("faults", fault(effect)).await;
        assert!(scene.get(&token, &url).await.is_err(), "{effect}");
    }
    scene.control("faults", fault("truncate")).await;
    let broken = scene.get(&token, &url).await.expect("headers");
    assert!(
        broken.bytes().await.is_err(),
        "half of an answer passes for a whole one"
    );
    let whole = scene.get(&token, &url).await.expect("an answer");
    assert_eq!(whole.status(), StatusCode::OK);
    scene
        .control("clock", json!({"advance_seconds": 3_601}))
        .await;
    let late = scene.get(&token, &url).await.expect("an answer");
    assert_eq!(late.status(), StatusCode::UNAUTHORIZED);
    scene.simulator.shutdown().await;
}

#[tokio::test]
async fn a_receiver_that_fails_is_not_asked_twice() {
    let scene = scene(StatusCode::SERVICE_UNAVAILABLE, 0).await;
    scene.act("installation.created", json!({})).await;
    let opened = scene.act("issues.opened", json!({})).await;
    assert!(scene.entry(&opened).webhook);
    assert_eq!(
        scene.arrivals.lock().expect("the list of arrivals").len(),
        2
    );
}

#[tokio::test]
async fn the_same_seed_makes_the_same_world() {
    let keys = |scene: &Scene| -> Vec<(String, String)> {
        scene
            .ledger()
            .into_iter()
            .map(|entry| (entry.kind, entry.dedupe_key))
            .collect()
    };
    let (one, other) = (
        scene(StatusCode::OK, 50).await,
        scene(StatusCode::OK, 50).await,
    );
    let undated = |keys: Vec<(String, String)>| -> Vec<String> {
        keys.into_iter()
            .filter(|(_, key)| key.ends_with(":created"))
            .map(|(_, key)| key)
            .collect()
    };
    assert_eq!(undated(keys(&one)), undated(keys(&other)));
    assert_eq!(one.env("CLIENT_SECRET"), other.env("CLIENT_SECRET"));
}
