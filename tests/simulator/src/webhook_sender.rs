//! Webhook sender for providers that retry failed deliveries.
//!
//! A [`DeliveryPolicy`] supplies the provider's headers, signatures and retry delays. Each
//! attempt of a delivery has the same id. The ledger records deliveries that failed after the
//! last retry. Faults affect only the first attempt.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use super::Core;
use super::faults::{Effect, Rule};
use super::forgery::{forge, must_be_rejected};
use super::lock::Mutex;
use super::unfinished::Unfinished;

/// Maximum number of attempts in the log.
const MAX_ATTEMPTS: usize = 2_000;

/// A delivery to send.
pub(crate) struct Delivery {
    /// Name of the event, which fault rules match.
    pub(crate) name: String,
    /// Delivery id, the same in every attempt.
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) url: String,
    /// Headers of this delivery, in addition to those of the policy.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Value,
    pub(crate) fault: Option<Rule>,
    /// Ledger rows of its facts.
    pub(crate) facts: Vec<u64>,
}

/// Reason why an attempt got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoResponse {
    Connection,
    Timeout,
    Redirects,
}

/// Outcome of an attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Status of the response, zero without one.
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) no_response: Option<NoResponse>,
}

impl Outcome {
    fn without_response(reason: NoResponse) -> Self {
        Self {
            status: 0,
            headers: HeaderMap::new(),
            no_response: Some(reason),
        }
    }
}

/// An attempt to send a delivery.
pub(crate) struct Attempt<'a> {
    pub(crate) delivery: &'a Delivery,
    pub(crate) body: &'a Bytes,
    /// Number of the attempt, from zero.
    pub(crate) number: usize,
    /// Outcome of the previous attempt.
    pub(crate) previous: &'a Outcome,
    pub(crate) effect: Option<Effect>,
}

/// Delivery behaviour of a provider.
pub(crate) trait DeliveryPolicy: Send + Sync {
    /// Builds the signed request of an attempt.
    fn request(&self, client: &Client, attempt: &Attempt<'_>) -> RequestBuilder;
    /// Delays before the retries, in seconds.
    fn retry_delays(&self) -> Vec<f64>;
    /// Whether the receiver has accepted a delivery.
    fn is_accepted(&self, outcome: &Outcome) -> bool {
        outcome.status / 100 == 2
    }
    /// Whether a delivery is retried after this outcome.
    fn should_retry(&self, outcome: &Outcome) -> bool;
    /// Whether receivers must reject a delivery with this fault, so its first attempt is forged.
    fn is_forged(&self, _delivery: &Delivery, effect: Effect) -> bool {
        must_be_rejected(effect)
    }
    /// Body of a forged delivery on the wire.
    fn forged_body(&self, delivery: &Delivery, _effect: Effect) -> Vec<u8> {
        self.body(&forge(&delivery.body))
    }
    /// Body on the wire, by default the JSON.
    fn body(&self, body: &Value) -> Vec<u8> {
        body.to_string().into_bytes()
    }
    /// Names of the counters of events, deliveries and permanent failures.
    fn counters(&self) -> [&'static str; 3];
}

/// Log entry of an attempt, as the control API returns it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AttemptRecord {
    event: String,
    id: String,
    account: String,
    number: usize,
    status: u16,
}

struct Inner {
    core: Arc<Core>,
    policy: Arc<dyn DeliveryPolicy>,
    client: Client,
    permits: Semaphore,
    unfinished: Unfinished,
    /// Notified after each delivery of an account.
    delivered: Mutex<HashMap<String, Arc<Notify>>>,
    log: Mutex<VecDeque<AttemptRecord>>,
    runtime: tokio::runtime::Handle,
}

/// Sender of deliveries.
#[derive(Clone)]
pub(crate) struct WebhookSender {
    inner: Arc<Inner>,
}

impl WebhookSender {
    pub(crate) fn new(
        core: Arc<Core>,
        policy: Arc<dyn DeliveryPolicy>,
        user_agent: &str,
        timeout: Duration,
        max_concurrent: usize,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(user_agent)
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::limited(2))
            .pool_max_idle_per_host(max_concurrent)
            .no_proxy()
            .build()?;
        let inner = Inner {
            core,
            policy,
            client,
            permits: Semaphore::new(max_concurrent),
            unfinished: Unfinished::default(),
            delivered: Mutex::default(),
            log: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Sends a delivery in the background.
    pub(crate) fn submit(&self, delivery: Delivery) {
        let [event_counter, ..] = self.inner.policy.counters();
        self.inner.core.stats.count(event_counter, 1);
        self.inner.unfinished.add();
        let inner = Arc::clone(&self.inner);
        self.inner.runtime.spawn(async move {
            let delivered_signal = inner.delivered_signal(&delivery.account);
            inner.deliver(delivery).await;
            delivered_signal.notify_waiters();
            inner.unfinished.finish();
        });
    }

    /// Deliveries that have neither succeeded nor failed permanently.
    pub(crate) fn unfinished(&self) -> &Unfinished {
        &self.inner.unfinished
    }

    /// Attempts, newest first.
    pub(crate) fn attempts(&self) -> Vec<AttemptRecord> {
        let log = self.inner.log.lock();
        log.iter().rev().cloned().collect()
    }

    pub(crate) fn summary(&self) -> Value {
        let log = self.inner.log.lock();
        let successes = log
            .iter()
            .filter(|attempt| attempt.status / 100 == 2)
            .count();
        json!({ "attempts": log.len(), "taken": successes })
    }
}

impl Inner {
    async fn deliver(&self, delivery: Delivery) {
        let [_, delivered_counter, failed_counter] = self.policy.counters();
        let rule = delivery.fault.as_ref();
        let fault = rule.map(|rule| rule.effect);
        let seconds = rule.and_then(|rule| rule.seconds).unwrap_or(1.0).max(0.0);
        let delay = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        match fault {
            Some(Effect::Delay) => tokio::time::sleep(delay).await,
            // Sent after the next delivery of the account, or after the timeout.
            Some(Effect::Reorder) => {
                let delivered_signal = self.delivered_signal(&delivery.account);
                tokio::time::timeout(delay, delivered_signal.notified())
                    .await
                    .ok();
            }
            _ => {}
        }
        let delays = self.policy.retry_delays();
        let original = wire_body(&delivery, self.policy.body(&delivery.body));
        let forgery = fault.filter(|effect| self.policy.is_forged(&delivery, *effect));
        let forged =
            forgery.map(|effect| wire_body(&delivery, self.policy.forged_body(&delivery, effect)));
        let (mut previous, mut reached) = (Outcome::default(), false);
        for number in 0..=delays.len() {
            if let Some(seconds) = number.checked_sub(1).and_then(|index| delays.get(index)) {
                tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await;
            }
            let forged = forged.as_ref().filter(|_| number == 0);
            let attempt = Attempt {
                delivery: &delivery,
                body: forged.unwrap_or(&original),
                number,
                previous: &previous,
                effect: fault.filter(|_| number == 0),
            };
            let lost = attempt.effect == Some(Effect::Drop);
            reached |= !lost;
            let outcome = if lost {
                Outcome::without_response(NoResponse::Connection)
            } else {
                self.send(&attempt).await
            };
            self.log_attempt(&delivery, number, outcome.status);
            if forged.is_some() {
                self.core.stats.count_forged(outcome.status);
            }
            if self.policy.is_accepted(&outcome) {
                if attempt.effect == Some(Effect::Duplicate) {
                    self.send(&attempt).await;
                }
                // A receiver that accepts a forged delivery has not got its facts.
                if forged.is_some() {
                    break;
                }
                self.core.stats.count(delivered_counter, 1);
                return;
            }
            // A fault's first attempt fails for its own reason, so it is always retried.
            if attempt.effect.is_none() && !self.policy.should_retry(&outcome) {
                break;
            }
            previous = outcome;
        }
        self.core.stats.count(failed_counter, 1);
        self.core
            .ledger
            .record_undelivered(&delivery.facts, reached);
    }

    fn delivered_signal(&self, account: &str) -> Arc<Notify> {
        let mut delivered = self.delivered.lock();
        Arc::clone(delivered.entry(account.to_owned()).or_default())
    }

    async fn send(&self, attempt: &Attempt<'_>) -> Outcome {
        let _permit = self.permits.acquire().await;
        let mut request = self.policy.request(&self.client, attempt);
        for (name, value) in &attempt.delivery.headers {
            request = request.header(*name, value);
        }
        match request.body(attempt.body.clone()).send().await {
            Ok(response) => {
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                // The body is read completely so that the socket can be reused.
                response.bytes().await.ok();
                Outcome {
                    status,
                    headers,
                    no_response: None,
                }
            }
            Err(error) if error.is_timeout() => Outcome::without_response(NoResponse::Timeout),
            Err(error) if error.is_redirect() => Outcome::without_response(NoResponse::Redirects),
            Err(_) => Outcome::without_response(NoResponse::Connection),
        }
    }

    fn log_attempt(&self, delivery: &Delivery, number: usize, status: u16) {
        let mut log = self.log.lock();
        if log.len() >= MAX_ATTEMPTS {
            log.pop_front();
        }
        log.push_back(AttemptRecord {
            event: delivery.name.clone(),
            id: delivery.id.clone(),
            account: delivery.account.clone(),
            number,
            status,
        });
    }
}

/// Body on the wire, padded or changed by the fault.
fn wire_body(delivery: &Delivery, mut body: Vec<u8>) -> Bytes {
    let Some(rule) = &delivery.fault else {
        return body.into();
    };
    if rule.effect == Effect::Oversize {
        body.resize(rule.bytes.unwrap_or(26 * 1024 * 1024).max(body.len()), b' ');
    }
    rule.apply_to_body(body.into())
}
