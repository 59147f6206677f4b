//! The connector against the simulated GitHub, with nothing between them: what deliveries
//! and polling tell is what happened, under the same identities.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use futures::FutureExt as _;
use http::{HeaderMap, StatusCode, header};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::config::{Env, Reader};
use shared::connectors::{
    Access, AuthorizeRequest, Callback, CallbackOutcome, Connector, ConnectorDeps,
    ConnectorSettings, Directory, ExternalAccount, NoKeys, RefreshRequest, Registry, StreamSpec,
    SyncRequest, WebhookDelivery, WebhookRequest,
};
use shared::crypto::pkce_challenge;
use shared::http::{Admission, Charge, LimitObservation, RateGate, Refused};
use shared::signals::SignalDraft;
use tests::simulator::{self, Config, Filter, Simulator};
use url::Url;

const CALLBACK: &str = "http://127.0.0.1:1/v1/connect/github/callback";

struct OpenGate;

#[async_trait]
impl RateGate for OpenGate {
    async fn admit(&self, _: &'static str, _: &Charge<'_>) -> Result<Admission, Refused> {
        Ok(Admission::default())
    }

    async fn observe(&self, _: &'static str, _: &Charge<'_>, _: LimitObservation) {}
}

type Inbox = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A receiver of webhooks that keeps them.
async fn inbox() -> (String, Inbox) {
    let inbox = Inbox::default();
    let keep = |State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes| async move {
        inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((headers, body));
        StatusCode::OK
    };
    let router = Router::new().fallback(keep).with_state(inbox.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), inbox)
}

/// The simulator, the connector that reaches it, and a browser.
struct Stage {
    simulator: Simulator,
    github: Arc<dyn Connector>,
    browser: reqwest::Client,
    inbox: Inbox,
}

impl Stage {
    async fn new(config: Config) -> Self {
        let (webhook_url, inbox) = inbox().await;
        let simulator = simulator::start(Config {
            webhook_url: Some(webhook_url),
            api_url: "http://127.0.0.1:1".to_owned(),
            // The connector's gate is open here.
            enforces_limits: false,
            ..config
        })
        .await
        .expect("a simulator");
        let env = Env::from_pairs(simulator.env());
        let mut reader = Reader::new(&env);
        let settings = ConnectorSettings::from_reader(&mut reader);
        reader.finish().expect("settings that can be used");
        let deps = ConnectorDeps {
            clock: Arc::new(SystemClock),
            gate: Arc::new(OpenGate),
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
            inbox,
        }
    }

    async fn control(&self, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let request = match body {
            Some(body) => self.browser.post(url).json(&body),
            None => self.browser.get(url),
        };
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap_or_default()
    }

    /// Somebody goes through both legs of the connect flow.
    async fn connect(&self, account: &str, person: &str) -> ExternalAccount {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let mut carry = None;
        for leg in 0..2 {
            let start = self.github.authorize(&AuthorizeRequest {
                state: format!("state-{leg}"),
                redirect_uri: Url::parse(CALLBACK).expect("a URL"),
                code_challenge: pkce_challenge(verifier),
                carry: carry.clone(),
            });
            let page = start.expect("a page to go to");
            let request = if page.path().ends_with("/installations/new") {
                let form = [("state", "state-0"), ("account", account)];
                self.browser.post(page).form(&form)
            } else {
                self.browser.get(page)
            };
            let cookie = format!("user_session={person}");
            let answer = request
                .header(header::COOKIE, cookie)
                .send()
                .await
                .expect("an answer");
            let back = answer.headers().get(header::LOCATION).expect("a redirect");
            let back = Url::parse(back.to_str().expect("text")).expect("a URL");
            let callback = Callback {
                query: back.query_pairs().into_owned().collect(),
                code_verifier: verifier.into(),
                redirect_uri: Url::parse(CALLBACK).expect("a URL"),
                carry: carry.take(),
            };
            assert_eq!(
                callback.param("state"),
                Some(format!("state-{leg}").as_str())
            );
            match self
                .github
                .exchange_token(callback)
                .await
                .expect("an outcome")
            {
                CallbackOutcome::Continue { carry: next } => carry = Some(next),
                CallbackOutcome::Connected(grant) => return grant.account,
                other => panic!("{other:?}"),
            }
        }
        panic!("two legs lead nowhere")
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

    /// What all streams tell, each from its own cursor on.
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
        let mut told = Vec::new();
        let mut streams = vec![root];
        while let Some(stream) = streams.pop() {
            loop {
                let request = SyncRequest {
                    access: Access {
                        account: account.clone(),
                        token: token.clone(),
                        person: None,
                    },
                    stream: stream.clone(),
                    cursor: cursors.get(&stream.key).cloned(),
                    horizon: now - Duration::days(90),
                    until: now + Duration::seconds(1),
                    reconcile_from: None,
                    failures: 0,
                    priority: shared::http::Priority::Poll,
                    directory: Arc::default(),
                };
                let page = self.github.sync(request).await.expect(&stream.key);
                told.extend(page.signals);
                streams.extend(page.streams);
                cursors.insert(stream.key.clone(), page.cursor);
                if !page.more {
                    break;
                }
            }
        }
        told
    }

    /// What the deliveries that came so far tell.
    async fn delivered(&self) -> Vec<SignalDraft> {
        self.control("quiesce", Some(json!({ "timeout_seconds": 60 })))
            .await;
        let inbox = self
            .inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let kept = self.github.descriptor().kept_headers;
        inbox
            .iter()
            .flat_map(|(headers, body)| {
                let request = WebhookRequest {
                    headers,
                    body,
                    connection: None,
                };
                let verified = self.github.verify_webhook(&request, &NoKeys).now_or_never();
                verified
                    .expect("nothing is waited for")
                    .expect("a genuine delivery");
                let delivery = WebhookDelivery {
                    headers: headers
                        .iter()
                        .filter(|(name, _)| kept.contains(&name.as_str()))
                        .map(|(name, value)| {
                            (name.to_string(), value.to_str().expect("text").to_owned())
                        })
                        .collect(),
                    body: body.clone(),
                    received_at: SystemClock.now(),
                    account: ExternalAccount::of_route("any"),
                };
                self.github
                    .handle_webhook(&delivery, &Directory::default())
                    .expect("an outcome")
                    .signals
            })
            .collect()
    }

    /// What happened: kind, identity and time of what is visible by polling, or was sent.
    fn happened(&self, account: &str, polled: bool) -> BTreeMap<String, (String, DateTime<Utc>)> {
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
        let all = self.control("github/accounts", None).await;
        let first = &all["accounts"][0];
        let text = |field: &str| first[field].as_str().expect("a login").to_owned();
        (text("login"), text("admin"))
    }
}

/// Kinds and identities are those of the ledger, no more, no less; times are near.
fn assert_same(
    told: &[SignalDraft],
    happened: &BTreeMap<String, (String, DateTime<Utc>)>,
    how: &str,
) {
    let by_key: BTreeMap<&str, &SignalDraft> = told
        .iter()
        .map(|signal| (signal.dedupe_key.as_str(), signal))
        .collect();
    let (known, ours): (BTreeSet<&str>, BTreeSet<&str>) = (
        happened.keys().map(String::as_str).collect(),
        by_key.keys().copied().collect(),
    );
    let missing: Vec<_> = known.difference(&ours).collect();
    let extra: Vec<_> = ours.difference(&known).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{how}: missing {missing:?}, extra {extra:?}"
    );
    for (key, (kind, at)) in happened {
        let signal = by_key[key.as_str()];
        assert_eq!(signal.kind.as_str(), kind, "{how}: {key}");
        let apart = (signal.timestamp - *at).abs();
        assert!(
            apart < Duration::seconds(120),
            "{how}: {key} at {} not {at}",
            signal.timestamp
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_and_deliveries_tell_what_happened() {
    let stage = Stage::new(Config {
        seed: Some(7),
        accounts: 1,
        repositories: 2,
        history: 150,
        ..Config::default()
    })
    .await;
    let (login, admin) = stage.first_account().await;
    let account = stage.connect(&login, &admin).await;
    assert_eq!(account.name, login);

    let mut cursors = BTreeMap::new();
    let mut told = stage.poll(&account, &mut cursors).await;
    assert!(told.len() > 50, "a history was told");
    assert_same(&told, &stage.happened(&login, true), "backfill");

    stage
        .control(
            "github/generate",
            Some(json!({ "count": 400, "account": login })),
        )
        .await;
    let delivered = stage.delivered().await;
    assert!(
        delivered.len() > 200,
        "{} deliveries told something",
        delivered.len()
    );
    assert_same(&delivered, &stage.happened(&login, false), "deliveries");

    told.extend(stage.poll(&account, &mut cursors).await);
    let told: BTreeSet<&str> = told
        .iter()
        .map(|signal| signal.dedupe_key.as_str())
        .collect();
    let visible = stage.happened(&login, true);
    let missing: Vec<_> = visible
        .keys()
        .filter(|key| !told.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "an incremental poll missed {missing:?}");
    stage.simulator.shutdown().await;
}
