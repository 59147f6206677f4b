//! Tests of the GitHub connector against the simulated GitHub.
//!
//! The Signals of deliveries and polling must have the kinds, keys and times of the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use futures::FutureExt as _;
use http::{HeaderMap, StatusCode, header};
use provider_sim::{Config, Filter, Simulator};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::config::{Env, Reader};
use shared::connectors::{
    Access, AuthorizeRequest, Callback, CallbackOutcome, Connector, ConnectorDeps,
    ConnectorSettings, Directory, NoKeys, RefreshRequest, Registry, SyncRequest, WebhookDelivery,
    WebhookRequest,
};
use shared::crypto::pkce_challenge;
use shared::http::{Charge, LimitObservation, Permit, RateLimited, RateLimiter};
use shared::model::{ExternalAccount, SignalDraft, StreamSpec};
use url::Url;

const CALLBACK: &str = "http://127.0.0.1:1/v1/connect/github/callback";

struct NoopLimiter;

#[async_trait]
impl RateLimiter for NoopLimiter {
    async fn admit(&self, _: &'static str, _: &Charge<'_>) -> Result<Permit, RateLimited> {
        Ok(Permit::default())
    }

    async fn observe(&self, _: &'static str, _: &Charge<'_>, _: LimitObservation) {}
}

type ReceivedWebhooks = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// Starts a receiver that keeps all webhooks.
async fn start_receiver() -> (String, ReceivedWebhooks) {
    let received = ReceivedWebhooks::default();
    let keep = |State(received): State<ReceivedWebhooks>, headers: HeaderMap, body: Bytes| async move {
        received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((headers, body));
        StatusCode::OK
    };
    let router = Router::new().fallback(keep).with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), received)
}

/// Simulator, GitHub connector, browser and received webhooks.
struct Fixture {
    simulator: Simulator,
    github: Arc<dyn Connector>,
    browser: reqwest::Client,
    received: ReceivedWebhooks,
}

impl Fixture {
    async fn new(config: Config) -> Self {
        let (webhook_url, received) = start_receiver().await;
        let simulator = provider_sim::start(Config {
            webhook_url: Some(webhook_url),
            api_url: "http://127.0.0.1:1".to_owned(),
            // The connector's rate limiter admits every call here.
            enforces_limits: false,
            ..config
        })
        .await
        .expect("a simulator");
        let env = Env::from_pairs(simulator.env());
        let mut reader = Reader::new(&env);
        let settings = ConnectorSettings::from_reader(&mut reader);
        reader.finish().expect("valid settings");
        let deps = ConnectorDeps {
            clock: Arc::new(SystemClock),
            rate_limiter: Arc::new(NoopLimiter),
        };
        let registry = Registry::new(settings, &deps).expect("a registry");
        let browser = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(30))
            .build()
            .expect("a browser");
        let github = registry.get("github").expect("GitHub is configured");
        Self {
            simulator,
            github,
            browser,
            received,
        }
    }

    async fn control(&self, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let request = match body {
            Some(body) => self.browser.post(url).json(&body),
            None => self.browser.get(url),
        };
        let response = request.send().await.expect("a response");
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        response.json().await.unwrap_or_default()
    }

    /// Completes both authorization steps of the connect flow.
    async fn connect(&self, account: &str, person: &str) -> ExternalAccount {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let mut context = None;
        for step in 0..2 {
            let start = self.github.authorize(&AuthorizeRequest {
                state: format!("state-{step}"),
                redirect_uri: Url::parse(CALLBACK).expect("a URL"),
                code_challenge: pkce_challenge(verifier),
                context: context.clone(),
            });
            let page = start.expect("a page");
            let request = if page.path().ends_with("/installations/new") {
                let form = [("state", "state-0"), ("account", account)];
                self.browser.post(page).form(&form)
            } else {
                self.browser.get(page)
            };
            let cookie = format!("user_session={person}");
            let response = request
                .header(header::COOKIE, cookie)
                .send()
                .await
                .expect("a response");
            let location = response
                .headers()
                .get(header::LOCATION)
                .expect("a redirect");
            let location = Url::parse(location.to_str().expect("text")).expect("a URL");
            let callback = Callback {
                query: location.query_pairs().into_owned().collect(),
                code_verifier: verifier.into(),
                redirect_uri: Url::parse(CALLBACK).expect("a URL"),
                context: context.take(),
            };
            assert_eq!(
                callback.param("state"),
                Some(format!("state-{step}").as_str())
            );
            match self
                .github
                .exchange_token(callback)
                .await
                .expect("an outcome")
            {
                CallbackOutcome::NextStep { context: next } => context = Some(next),
                CallbackOutcome::Connected(grant) => return grant.account,
                other => panic!("{other:?}"),
            }
        }
        panic!("the connect flow did not end after two steps")
    }

    async fn token(&self, account: &ExternalAccount) -> SecretString {
        let request = RefreshRequest {
            access_token: None,
            account: account.clone(),
            refresh_token: None,
        };
        self.github
            .refresh_token(request)
            .await
            .expect("a token")
            .access_token
    }

    /// Polls all streams, each from its cursor.
    async fn poll(
        &self,
        account: &ExternalAccount,
        cursors: &mut BTreeMap<String, Value>,
    ) -> Vec<SignalDraft> {
        let token = self.token(account).await;
        let root = self.github.descriptor().root_stream;
        let root = StreamSpec {
            key: root.to_owned(),
            resource_id: None,
            target: Value::Null,
        };
        let now = SystemClock.now();
        let mut signals = Vec::new();
        let mut streams = vec![root];
        while let Some(stream) = streams.pop() {
            loop {
                let request = SyncRequest {
                    access: Access {
                        account: account.clone(),
                        token: token.clone(),
                        user_token: None,
                    },
                    stream: stream.clone(),
                    cursor: cursors.get(&stream.key).cloned(),
                    backfill_from: now - Duration::days(90),
                    upper_bound: now + Duration::seconds(1),
                    resync_from: None,
                    reconcile_from: None,
                    failures: 0,
                    priority: shared::http::Priority::Poll,
                    directory: Arc::default(),
                };
                let page = self.github.sync(request).await.expect(&stream.key);
                signals.extend(page.signals);
                streams.extend(page.streams);
                cursors.insert(stream.key.clone(), page.cursor);
                if !page.has_more {
                    break;
                }
            }
        }
        signals
    }

    /// Signals of all received deliveries.
    async fn delivered_signals(&self) -> Vec<SignalDraft> {
        self.control("quiesce", Some(json!({ "timeout_seconds": 60 })))
            .await;
        let received = self
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let stored_headers = self.github.descriptor().stored_headers;
        received
            .iter()
            .flat_map(|(headers, body)| {
                let request = WebhookRequest {
                    headers,
                    body,
                    connection: None,
                };
                let verified = self.github.verify_webhook(&request, &NoKeys).now_or_never();
                verified
                    .expect("verification does not block")
                    .expect("a valid signature");
                let delivery = WebhookDelivery {
                    headers: headers
                        .iter()
                        .filter(|(name, _)| stored_headers.contains(&name.as_str()))
                        .map(|(name, value)| {
                            (name.to_string(), value.to_str().expect("text").to_owned())
                        })
                        .collect(),
                    body: body.clone(),
                    received_at: SystemClock.now(),
                    account: ExternalAccount::from_route("any"),
                    subscription: None,
                };
                self.github
                    .handle_webhook(&delivery, &Directory::default())
                    .expect("an outcome")
                    .signals
            })
            .collect()
    }

    /// Facts of the ledger that lists show or deliveries carried: kind and time by dedupe key.
    fn facts(&self, account: &str, polled: bool) -> BTreeMap<String, (String, DateTime<Utc>)> {
        self.simulator
            .ledger(&Filter::default())
            .into_iter()
            .filter(|entry| entry.source == "github" && entry.account == account)
            .filter(|entry| if polled { entry.poll } else { entry.webhook })
            .map(|entry| {
                let at = DateTime::parse_from_rfc3339(&entry.time).expect("a time");
                (entry.dedupe_key, (entry.kind, at.with_timezone(&Utc)))
            })
            .collect()
    }

    async fn first_account(&self) -> (String, String) {
        let response = self.control("github/accounts", None).await;
        let first = &response["accounts"][0];
        let text = |field: &str| first[field].as_str().expect("a login").to_owned();
        (text("login"), text("admin"))
    }
}

/// Asserts that Signals have exactly the keys and kinds of the facts, and similar times.
fn assert_matches_ledger(
    signals: &[SignalDraft],
    facts: &BTreeMap<String, (String, DateTime<Utc>)>,
    source: &str,
) {
    let by_key: BTreeMap<&str, &SignalDraft> = signals
        .iter()
        .map(|signal| (signal.dedupe_key.as_str(), signal))
        .collect();
    let (expected, actual): (BTreeSet<&str>, BTreeSet<&str>) = (
        facts.keys().map(String::as_str).collect(),
        by_key.keys().copied().collect(),
    );
    let missing: Vec<_> = expected.difference(&actual).collect();
    let extra: Vec<_> = actual.difference(&expected).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{source}: missing {missing:?}, extra {extra:?}"
    );
    for (key, (kind, at)) in facts {
        let signal = by_key[key.as_str()];
        assert_eq!(signal.kind.as_str(), kind, "{source}: {key}");
        let difference = (signal.timestamp - *at).abs();
        assert!(
            difference < Duration::seconds(120),
            "{source}: {key} at {} not {at}",
            signal.timestamp
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_and_deliveries_match_the_ledger() {
    let fixture = Fixture::new(Config {
        seed: Some(7),
        accounts: 1,
        history: 150,
        ..Config::default()
    })
    .await;
    let (login, admin) = fixture.first_account().await;
    let account = fixture.connect(&login, &admin).await;
    assert_eq!(account.name, login);

    let mut cursors = BTreeMap::new();
    let mut signals = fixture.poll(&account, &mut cursors).await;
    assert!(signals.len() > 50, "the backfill has too few signals");
    assert_matches_ledger(&signals, &fixture.facts(&login, true), "backfill");

    fixture
        .control(
            "github/generate",
            Some(json!({ "count": 400, "account": login })),
        )
        .await;
    let delivered = fixture.delivered_signals().await;
    assert!(
        delivered.len() > 200,
        "only {} signals from deliveries",
        delivered.len()
    );
    assert_matches_ledger(&delivered, &fixture.facts(&login, false), "deliveries");

    signals.extend(fixture.poll(&account, &mut cursors).await);
    let keys: BTreeSet<&str> = signals
        .iter()
        .map(|signal| signal.dedupe_key.as_str())
        .collect();
    let visible = fixture.facts(&login, true);
    let missing: Vec<_> = visible
        .keys()
        .filter(|key| !keys.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "an incremental poll missed {missing:?}");
    fixture.simulator.shutdown().await;
}
