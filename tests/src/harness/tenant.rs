//! Client of one tenant: API requests, the connect flow, and the feed.

use std::collections::BTreeSet;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::browser::Browser;
use super::{DEFAULT_PROVIDER, Identities, System};

/// Tenant with an API key.
pub struct Tenant<'a> {
    system: &'a System,
    /// The tenant's id.
    pub id: Uuid,
    /// The tenant's API key.
    pub key: String,
}

impl<'a> Tenant<'a> {
    /// Creates a client for an existing tenant.
    pub const fn new(system: &'a System, id: Uuid, key: String) -> Self {
        Self { system, id, key }
    }

    /// The tenant's system.
    pub const fn system(&self) -> &'a System {
        self.system
    }

    /// Sends a request with the tenant's key.
    ///
    /// # Panics
    ///
    /// When the API does not respond.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        let url = format!("{}{path}", self.system.api);
        let mut request = self
            .system
            .client
            .request(method, url)
            .bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.expect("an API response")
    }

    /// Sends a GET request and returns its JSON.
    ///
    /// # Panics
    ///
    /// When it does not succeed.
    pub async fn get(&self, path: &str) -> Value {
        expect_success(self.request(Method::GET, path, None).await).await
    }

    /// Sends a POST request and returns its JSON.
    ///
    /// # Panics
    ///
    /// When it does not succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        expect_success(self.request(Method::POST, path, Some(body)).await).await
    }

    /// Connects an account of the default provider and returns the connection's id.
    pub async fn connect(&self, account: &str, person: &str) -> Uuid {
        self.connect_to(DEFAULT_PROVIDER, account, person).await
    }

    /// Connects a simulated account by browser and returns the connection's id.
    ///
    /// # Panics
    ///
    /// When the flow does not end with a connection.
    pub async fn connect_to(&self, provider: &str, account: &str, person: &str) -> Uuid {
        let response = self.run_connect_flow(provider, account, person).await;
        let body = expect_success(response).await;
        body["connection"]["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a uuid")
    }

    /// Runs the connect flow and returns its last response, also an error.
    ///
    /// Chooses `account` if the grant covers several.
    ///
    /// # Panics
    ///
    /// When a step has no response.
    pub async fn run_connect_flow(&self, provider: &str, account: &str, person: &str) -> Response {
        let link = self
            .post(&format!("/v1/connect/{provider}"), &json!({}))
            .await;
        let link = link["authorize_url"].as_str().expect("a URL");
        open_connect_link(self.system, link, account, person).await
    }

    /// Reads the feed from its beginning to its end.
    ///
    /// # Panics
    ///
    /// When a page cannot be read.
    pub async fn feed(&self) -> Vec<Value> {
        self.map_feed(Value::clone).await
    }

    /// Reads the feed and maps each Signal, so that a large feed need not fit into memory.
    ///
    /// # Panics
    ///
    /// When a page cannot be read.
    pub async fn map_feed<T>(&self, map: impl Fn(&Value) -> T) -> Vec<T> {
        let mut signals = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let after = cursor
                .map(|cursor| format!("&cursor={cursor}"))
                .unwrap_or_default();
            let page = self.get(&format!("/v1/signals?limit=200{after}")).await;
            let page_signals = page["signals"].as_array().expect("a list");
            signals.extend(page_signals.iter().map(&map));
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            assert!(cursor.is_some(), "every page has a next cursor");
            if page["has_more"] == json!(false) {
                return signals;
            }
        }
    }

    /// Counts the stored Signals.
    ///
    /// # Panics
    ///
    /// When Postgres does not respond.
    pub async fn count_signals(&self) -> usize {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM signals WHERE tenant_id = $1")
            .bind(self.id)
            .fetch_one(self.system.db.pool())
            .await
            .expect("the query result");
        usize::try_from(count).expect("a count")
    }

    /// Returns kind and dedupe key of every Signal in the feed.
    ///
    /// # Panics
    ///
    /// When the feed has a duplicate, or a Signal of another tenant.
    pub async fn identities(&self) -> Identities {
        let feed = self
            .map_feed(|signal| {
                assert_eq!(signal["tenant_id"], json!(self.id));
                let text = |field: &str| signal[field].as_str().expect("a text").to_owned();
                (text("kind"), text("dedupe_key"))
            })
            .await;
        let mut identities = BTreeSet::new();
        for identity in feed {
            let key = identity.1.clone();
            assert!(identities.insert(identity), "duplicate Signal: {key}");
        }
        identities
    }

    /// Waits until the system is idle and compares the feed with the account's ledger.
    ///
    /// # Panics
    ///
    /// When a fact is missing or a Signal has no fact.
    pub async fn assert_equals_ledger(&self, account: &str) {
        self.assert_equals_ledgers(&[account]).await;
    }

    /// Waits until the system is idle and compares the feed with the accounts' ledgers.
    ///
    /// # Panics
    ///
    /// When a fact is missing or a Signal has no fact.
    pub async fn assert_equals_ledgers(&self, accounts: &[&str]) {
        self.system.drain().await;
        self.assert_feed_equals_ledgers(accounts).await;
    }

    /// Compares the feed with the accounts' ledgers without waiting for jobs to end.
    ///
    /// # Panics
    ///
    /// When a fact is missing or a Signal has no fact.
    pub async fn assert_feed_equals_ledgers(&self, accounts: &[&str]) {
        // The feed ends at the oldest running transaction, also of other tests in the cluster.
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
        let (mut missing, mut extra) = self.difference(accounts).await;
        while !missing.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
            (missing, extra) = self.difference(accounts).await;
        }
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{accounts:?}: missing {missing:?}, extra {extra:?}"
        );
    }

    /// Gets a response in which no transaction of another test holds the feed back.
    ///
    /// All databases of a cluster share their transaction ids, so such a transaction delays what
    /// readers may see.
    ///
    /// # Panics
    ///
    /// When the response is no success, or the feed stays held back.
    pub async fn get_when_current(&self, path: &str) -> Value {
        let mut response = Value::Null;
        super::eventually("nothing holds the feed back", async || {
            response = self.get(path).await;
            !response.to_string().contains(r#""behind":"held_back""#)
        })
        .await;
        response
    }

    /// Returns the ledger's facts that the feed lacks, and Signals that the ledger lacks.
    ///
    /// # Panics
    ///
    /// When a page of the feed cannot be read.
    pub async fn difference(&self, accounts: &[&str]) -> (Identities, Identities) {
        let seen = self.identities().await;
        let (mut required, mut allowed) = (BTreeSet::new(), BTreeSet::new());
        for account in accounts {
            let (must, may) = self.system.ledger(account);
            required.extend(must);
            allowed.extend(may);
        }
        let missing = required.difference(&seen).cloned().collect();
        (missing, seen.difference(&allowed).cloned().collect())
    }

    /// Requests redeliveries, polls once, and compares the feed with the account's ledger.
    ///
    /// For tests in which facts happen during a sync run, after its upper bound. The poll is
    /// incremental, so the comparison fails on facts that only the reconciliation pass finds.
    ///
    /// # Panics
    ///
    /// When a fact is missing or a Signal has no fact.
    pub async fn assert_equals_ledger_after_poll(&self, account: &str) {
        self.system.drain().await;
        self.system.redeliver().await;
        self.poll().await;
        self.assert_equals_ledger(account).await;
    }

    /// Requests redeliveries, polls with the reconciliation pass, and compares.
    ///
    /// For tests that lose edits of old replies and other facts that no list shows as they happen.
    ///
    /// # Panics
    ///
    /// When a fact is missing or a Signal has no fact.
    pub async fn assert_equals_ledger_after_reconciliation(&self, account: &str) {
        self.system.drain().await;
        self.system.redeliver().await;
        self.poll_and_reconcile().await;
        self.assert_equals_ledger(account).await;
    }

    /// Requests an incremental sync of every connection.
    ///
    /// # Panics
    ///
    /// When the API returns an error.
    pub async fn poll(&self) {
        let connections = self.get("/v1/connections").await;
        let providers: BTreeSet<&str> = connections["connections"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|connection| connection["provider"].as_str())
            .collect();
        for provider in providers {
            let path = format!("/v1/sync/{provider}");
            self.post(&path, &json!({ "mode": "incremental" })).await;
        }
    }

    /// Makes the reconciliation pass due and requests a sync of every connection.
    ///
    /// # Panics
    ///
    /// When the API or Postgres returns an error.
    pub async fn poll_and_reconcile(&self) {
        sqlx::query("UPDATE cursors SET reconcile_at = now() WHERE tenant_id = $1")
            .bind(self.id)
            .execute(self.system.db.pool())
            .await
            .expect("the query result");
        self.poll().await;
    }
}

/// Opens a connect link as a person, consents, and returns the last response, also an error.
///
/// # Panics
///
/// When a step has no response.
pub async fn open_connect_link(
    system: &System,
    link: &str,
    account: &str,
    person: &str,
) -> Response {
    let mut browser = Browser::new(system, person);
    let page = browser.open_link(link).await;
    let url = page.url().clone();
    if url.authority() != system.simulator.address().to_string() {
        return choose_account(&mut browser, page, account).await;
    }
    assert_eq!(page.status(), StatusCode::OK, "the provider's page");
    let state = url
        .query_pairs()
        .find(|(name, _)| name == "state")
        .map(|(_, value)| value.into_owned())
        .expect("a state");
    browser
        .post(url.as_str(), &[("account", account), ("state", &state)])
        .await
}

/// Chooses the account if the grant covers several.
async fn choose_account(browser: &mut Browser<'_>, page: Response, account: &str) -> Response {
    let status = page.status();
    let text = page.text().await.expect("a body");
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let chosen = body["choices"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|choice| choice["account"]["id"] == account);
    match chosen.and_then(|choice| choice["choose_url"].as_str()) {
        Some(url) => browser.get(url).await,
        None => http::Response::builder()
            .status(status)
            .body(text)
            .expect("a response")
            .into(),
    }
}

async fn expect_success(response: Response) -> Value {
    let (status, url) = (response.status(), response.url().clone());
    let text = response.text().await.expect("a body");
    assert!(status.is_success(), "{url}: {status} {text}");
    serde_json::from_str(&text).expect("JSON")
}
