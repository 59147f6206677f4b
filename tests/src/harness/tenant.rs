//! A tenant as its people use the system: a browser, a key, a feed.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Identities, System};

/// A tenant with a key.
pub struct Tenant<'a> {
    system: &'a System,
    /// Its id.
    pub id: Uuid,
    /// Its key.
    pub key: String,
}

impl<'a> Tenant<'a> {
    /// The tenant that has this id and key.
    pub const fn new(system: &'a System, id: Uuid, key: String) -> Self {
        Self { system, id, key }
    }

    /// The system that it uses.
    pub(super) const fn system(&self) -> &'a System {
        self.system
    }

    /// A request with the tenant's key.
    ///
    /// # Panics
    ///
    /// When the API does not answer.
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
        request.send().await.expect("the API answers")
    }

    /// A successful GET's JSON.
    ///
    /// # Panics
    ///
    /// When it does not succeed.
    pub async fn get(&self, path: &str) -> Value {
        success(self.request(Method::GET, path, None).await).await
    }

    /// A successful POST's JSON.
    ///
    /// # Panics
    ///
    /// When it does not succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        success(self.request(Method::POST, path, Some(body)).await).await
    }

    /// Connects a simulated GitHub account and answers the connection's id.
    pub async fn connect(&self, account: &str, person: &str) -> Uuid {
        self.connect_to("github", account, person).await
    }

    /// Connects a simulated account as a person would, by browser, and answers the
    /// connection's id.
    ///
    /// # Panics
    ///
    /// When the flow ends otherwise.
    pub async fn connect_to(&self, provider: &str, account: &str, person: &str) -> Uuid {
        let answer = self.walk_to(provider, account, person).await;
        let body = success(answer).await;
        body["connection"]["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a uuid")
    }

    /// Walks through the connect flow at GitHub and answers the last response.
    pub async fn walk(&self, account: &str, person: &str) -> Response {
        self.walk_to("github", account, person).await
    }

    /// Walks through the connect flow and answers the last response, whatever it is. Where
    /// the provider asks which account is meant, it is told.
    ///
    /// # Panics
    ///
    /// When a step gives no answer at all.
    pub async fn walk_to(&self, provider: &str, account: &str, person: &str) -> Response {
        let begun = self
            .post(&format!("/v1/connect/{provider}"), &json!({}))
            .await;
        let mut browser = Browser::new(self.system, person);
        let page = browser
            .proceed(begun["authorize_url"].as_str().expect("a URL"))
            .await;
        let url = page.url().clone();
        if url.authority() != self.system.simulator.address().to_string() {
            return choose(&mut browser, page, account).await;
        }
        assert_eq!(page.status(), StatusCode::OK, "the provider's page");
        let state = url
            .query_pairs()
            .find(|(name, _)| name == "state")
            .map(|(_, value)| value.into_owned())
            .expect("the state is handed on");
        browser
            .post(url.as_str(), &[("account", account), ("state", &state)])
            .await
    }

    /// Follows the feed from its beginning to its end.
    ///
    /// # Panics
    ///
    /// When a page is not given.
    pub async fn feed(&self) -> Vec<Value> {
        self.feed_of(Value::clone).await
    }

    /// The same, of each Signal only what is asked for.
    ///
    /// # Panics
    ///
    /// When a page is not given.
    pub async fn feed_of<T>(&self, what: impl Fn(&Value) -> T) -> Vec<T> {
        let mut signals = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let after = cursor
                .map(|cursor| format!("&cursor={cursor}"))
                .unwrap_or_default();
            let page = self.get(&format!("/v1/signals?limit=200{after}")).await;
            let given = page["signals"].as_array().expect("a list");
            signals.extend(given.iter().map(&what));
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            assert!(cursor.is_some(), "the feed always says where to go on");
            if page["has_more"] == json!(false) {
                return signals;
            }
        }
    }

    /// How many Signals there are.
    ///
    /// # Panics
    ///
    /// When Postgres does not answer.
    pub async fn stored(&self) -> usize {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM signals WHERE tenant_id = $1")
            .bind(self.id)
            .fetch_one(self.system.db.pool())
            .await
            .expect("Postgres answers");
        usize::try_from(count).expect("a count")
    }

    /// Kind and identity of every Signal the feed gives. Fails when it gives one twice, or
    /// one that is not the tenant's.
    ///
    /// # Panics
    ///
    /// As said.
    pub async fn identities(&self) -> Identities {
        let feed = self
            .feed_of(|signal| {
                assert_eq!(signal["tenant_id"], json!(self.id));
                let text = |field: &str| signal[field].as_str().expect("a text").to_owned();
                (text("kind"), text("dedupe_key"))
            })
            .await;
        let mut identities = BTreeSet::new();
        for identity in feed {
            let twice = identity.1.clone();
            assert!(identities.insert(identity), "told twice: {twice}");
        }
        identities
    }

    /// Waits for the work to end and compares the feed with the account's ledger.
    ///
    /// # Panics
    ///
    /// When something is missing or too much.
    pub async fn assert_equals_ledger(&self, account: &str) {
        self.assert_equals_ledgers(&[account]).await;
    }

    /// Waits for the work to end and compares the feed with the ledgers of all its accounts.
    ///
    /// # Panics
    ///
    /// When something is missing or too much.
    pub async fn assert_equals_ledgers(&self, accounts: &[&str]) {
        self.system.drain().await;
        self.assert_feed_equals_ledgers(accounts).await;
    }

    /// Compares the feed with the ledgers of all its accounts, whatever work is under way.
    ///
    /// # Panics
    ///
    /// When something is missing or too much.
    pub async fn assert_feed_equals_ledgers(&self, accounts: &[&str]) {
        // The feed shows what lies below the oldest running transaction; other tests in the
        // same cluster may hold it back for a moment.
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
        let (mut missing, mut extra) = self.difference(accounts).await;
        while !missing.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
            (missing, extra) = self.difference(accounts).await;
        }
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{accounts:?}: missing {missing:?}, too much {extra:?}"
        );
    }

    /// Facts of the accounts' ledgers that the feed lacks, and Signals that it has beyond them.
    ///
    /// # Panics
    ///
    /// When a page of the feed is not given.
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

    /// Sweeps and polls once more and compares then: for tests in which things change while a run is
    /// under way, whose upper bound is frozen. The poll is an ordinary one, so the comparison fails
    /// on each fact that only the reconciliation pass finds.
    ///
    /// # Panics
    ///
    /// When something is missing or too much.
    pub async fn assert_equals_ledger_after_a_poll(&self, account: &str) {
        self.system.drain().await;
        self.system.sweep().await;
        self.poll().await;
        self.assert_equals_ledger(account).await;
    }

    /// The same after a poll with the reconciliation pass: for tests that lose edits of old replies
    /// and other facts that no list shows as they happen.
    ///
    /// # Panics
    ///
    /// When something is missing or too much.
    pub async fn assert_equals_ledger_after_reconciliation(&self, account: &str) {
        self.system.drain().await;
        self.system.sweep().await;
        self.poll_and_reconcile().await;
        self.assert_equals_ledger(account).await;
    }

    /// Has every connection polled.
    ///
    /// # Panics
    ///
    /// When the API refuses.
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

    /// Has every connection polled, and reconciled as after a day.
    ///
    /// # Panics
    ///
    /// When the API or Postgres refuses.
    pub async fn poll_and_reconcile(&self) {
        sqlx::query("UPDATE cursors SET reconcile_at = now() WHERE tenant_id = $1")
            .bind(self.id)
            .execute(self.system.db.pool())
            .await
            .expect("Postgres answers");
        self.poll().await;
    }
}

/// Where the grant covers several accounts, the one that is meant is chosen.
async fn choose(browser: &mut Browser<'_>, page: Response, account: &str) -> Response {
    let status = page.status();
    let text = page.text().await.expect("a body");
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let chosen = body["choices"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|choice| choice["account"]["id"] == account);
    match chosen.and_then(|choice| choice["choose_url"].as_str()) {
        Some(url) => browser.follow(url).await,
        None => http::Response::builder()
            .status(status)
            .body(text)
            .expect("an answer")
            .into(),
    }
}

async fn success(answer: Response) -> Value {
    let (status, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.expect("a body");
    assert!(status.is_success(), "{url}: {status} {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// A browser: cookies per host, and redirects followed by hand.
struct Browser<'a> {
    system: &'a System,
    /// By `host:port`.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl<'a> Browser<'a> {
    fn new(system: &'a System, person: &str) -> Self {
        let provider = system.simulator.address().to_string();
        let session = BTreeMap::from([("user_session".to_owned(), person.to_owned())]);
        Self {
            system,
            cookies: BTreeMap::from([(provider, session)]),
        }
    }

    async fn follow(&mut self, url: &str) -> Response {
        let answer = self.send(Method::GET, url, &[]).await;
        self.redirects(answer).await
    }

    /// Opens a connect link and submits the form of its page, whatever fields that has: pages of
    /// a previous release may have others, or there is no page between link and provider.
    async fn proceed(&mut self, link: &str) -> Response {
        let page = self.follow(link).await;
        let url = page.url().clone();
        if url.authority() == self.system.simulator.address().to_string() {
            return page;
        }
        assert_eq!(page.status(), StatusCode::OK, "the link's page");
        let text = page.text().await.expect("a page");
        let action = attribute(&text, "action").expect("the page has a form");
        let fields: Vec<(&str, &str)> = text
            .split("<input")
            .skip(1)
            .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)))
            .collect();
        let action = url.join(action).expect("a URL");
        self.post(action.as_str(), &fields).await
    }

    async fn post(&mut self, url: &str, form: &[(&str, &str)]) -> Response {
        let answer = self.send(Method::POST, url, form).await;
        self.redirects(answer).await
    }

    async fn redirects(&mut self, mut answer: Response) -> Response {
        for _ in 0..10 {
            if !answer.status().is_redirection() {
                return answer;
            }
            let location = answer.headers()[LOCATION].to_str().expect("text");
            let next = answer.url().join(location).expect("a URL");
            answer = self.send(Method::GET, next.as_str(), &[]).await;
        }
        panic!("too many redirects at {}", answer.url());
    }

    async fn send(&mut self, method: Method, url: &str, form: &[(&str, &str)]) -> Response {
        let host = url::Url::parse(url).expect("a URL").authority().to_owned();
        let jar = self.cookies.entry(host).or_default();
        let cookies: Vec<String> = jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = self.system.client.request(method.clone(), url);
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if method == Method::POST {
            request = request.form(form);
        }
        let answer = request.send().await.expect("an answer");
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let pair = cookie
                .to_str()
                .expect("text")
                .split(';')
                .next()
                .unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

/// The first value of an attribute in HTML.
fn attribute<'a>(html: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = html.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()
}
