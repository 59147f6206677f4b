//! Deliveries of providers that retry by themselves: sent, sent again when nobody takes them,
//! given up at last.
//!
//! Promises the provider's own headers and pauses, the same id in every attempt, and an honest
//! ledger: what was given up was not told. Faults concern the first attempt; the retries are
//! the provider's remedy.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use super::Core;
use super::faults::{Effect, Rule};
use super::forge::{forge, must_be_refused};

/// Attempts that the log keeps.
const KEPT: usize = 2_000;

/// A delivery that is to be sent.
pub(crate) struct Letter {
    /// The event's name, as fault rules name it.
    pub(crate) name: String,
    /// The same in every attempt.
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) url: String,
    /// What this one bears beside what every delivery has.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Value,
    pub(crate) fault: Option<Rule>,
    /// The ledger's rows that it tells.
    pub(crate) facts: Vec<u64>,
}

/// Why an attempt got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    Connection,
    Timeout,
    Redirects,
}

/// How an attempt ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Zero if there was no answer.
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) silence: Option<Silence>,
}

impl Outcome {
    fn silent(why: Silence) -> Self {
        Self {
            status: 0,
            headers: HeaderMap::new(),
            silence: Some(why),
        }
    }
}

/// One attempt at a delivery.
pub(crate) struct Try<'a> {
    pub(crate) letter: &'a Letter,
    pub(crate) body: &'a Bytes,
    /// From zero.
    pub(crate) number: usize,
    /// How the attempt before ended.
    pub(crate) before: &'a Outcome,
    pub(crate) effect: Option<Effect>,
}

/// How a provider delivers.
pub(crate) trait Courier: Send + Sync {
    /// An attempt's request, signed.
    fn request(&self, client: &Client, attempt: &Try<'_>) -> RequestBuilder;
    /// Pauses before the retries, in seconds.
    fn pauses(&self) -> Vec<f64>;
    /// Whether a delivery whose attempt ended so is sent again.
    fn retries(&self, outcome: &Outcome) -> bool;
    /// Whether a delivery with this fault must be refused; its first attempt is forged then.
    fn is_forged(&self, _letter: &Letter, effect: Effect) -> bool {
        must_be_refused(effect)
    }
    /// Counters of what was sent, taken and given up.
    fn counters(&self) -> [&'static str; 3];
}

/// One attempt, as the control API shows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Attempt {
    event: String,
    id: String,
    account: String,
    number: usize,
    status: u16,
}

struct Inner {
    core: Arc<Core>,
    courier: Arc<dyn Courier>,
    client: Client,
    permits: Semaphore,
    unfinished: AtomicUsize,
    finished: Notify,
    /// By account, those who wait for its next delivery.
    turns: Mutex<HashMap<String, Arc<Notify>>>,
    log: Mutex<VecDeque<Attempt>>,
    runtime: tokio::runtime::Handle,
}

/// The sender of deliveries.
#[derive(Clone)]
pub(crate) struct Outbox {
    inner: Arc<Inner>,
}

impl Outbox {
    pub(crate) fn new(
        core: Arc<Core>,
        courier: Arc<dyn Courier>,
        user_agent: &str,
        patience: Duration,
        at_once: usize,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(user_agent)
            .timeout(patience)
            .redirect(reqwest::redirect::Policy::limited(2))
            .pool_max_idle_per_host(at_once)
            .no_proxy()
            .build()?;
        let inner = Inner {
            core,
            courier,
            client,
            permits: Semaphore::new(at_once),
            unfinished: AtomicUsize::new(0),
            finished: Notify::new(),
            turns: Mutex::default(),
            log: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Sends a delivery, early or late as its fault wants.
    pub(crate) fn submit(&self, letter: Letter) {
        let [sent, ..] = self.inner.courier.counters();
        self.inner.core.stats.count(sent, 1);
        self.inner.unfinished.fetch_add(1, Ordering::SeqCst);
        let inner = Arc::clone(&self.inner);
        self.inner.runtime.spawn(async move {
            let turn = inner.turn(&letter.account);
            inner.deliver(letter).await;
            turn.notify_waiters();
            inner.unfinished.fetch_sub(1, Ordering::SeqCst);
            inner.finished.notify_waiters();
        });
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.inner.unfinished.load(Ordering::SeqCst)
    }

    /// Waits until every delivery was taken or given up; `false` on timeout.
    pub(crate) async fn quiesce(&self, patience: Duration) -> bool {
        let idle = async {
            loop {
                let finished = self.inner.finished.notified();
                if self.unfinished() == 0 {
                    return;
                }
                finished.await;
            }
        };
        tokio::time::timeout(patience, idle).await.is_ok()
    }

    /// Attempts, the newest first.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        let log = self
            .inner
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        log.iter().rev().cloned().collect()
    }

    pub(crate) fn summary(&self) -> Value {
        let log = self
            .inner
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let taken = log
            .iter()
            .filter(|attempt| attempt.status / 100 == 2)
            .count();
        json!({ "attempts": log.len(), "taken": taken })
    }
}

impl Inner {
    async fn deliver(&self, letter: Letter) {
        let [_, taken, given_up] = self.courier.counters();
        let rule = letter.fault.as_ref();
        let fault = rule.map(|rule| rule.effect);
        let seconds = rule.and_then(|rule| rule.seconds).unwrap_or(1.0).max(0.0);
        let late = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        match fault {
            Some(Effect::Delay) => tokio::time::sleep(late).await,
            // It goes when the account's next one has gone, or there is none for so long.
            Some(Effect::Reorder) => {
                let turn = self.turn(&letter.account);
                tokio::time::timeout(late, turn.notified()).await.ok();
            }
            _ => {}
        }
        let pauses = self.courier.pauses();
        let genuine = padded(&letter, &letter.body);
        let is_forged = fault.is_some_and(|effect| self.courier.is_forged(&letter, effect));
        let forged = is_forged.then(|| padded(&letter, &forge(&letter.body)));
        let (mut before, mut reached) = (Outcome::default(), false);
        for number in 0..=pauses.len() {
            if let Some(pause) = number.checked_sub(1).and_then(|last| pauses.get(last)) {
                tokio::time::sleep(Duration::from_secs_f64(pause.max(0.0))).await;
            }
            let forged = forged.as_ref().filter(|_| number == 0);
            let attempt = Try {
                letter: &letter,
                body: forged.unwrap_or(&genuine),
                number,
                before: &before,
                effect: fault.filter(|_| number == 0),
            };
            let lost = attempt.effect == Some(Effect::Drop);
            reached |= !lost;
            let outcome = if lost {
                Outcome::silent(Silence::Connection)
            } else {
                self.send(&attempt).await
            };
            self.note(&letter, number, outcome.status);
            if forged.is_some() {
                self.core.stats.count_forged(outcome.status);
            }
            if outcome.status / 100 == 2 {
                if attempt.effect == Some(Effect::Duplicate) {
                    self.send(&attempt).await;
                }
                self.core.stats.count(taken, 1);
                return;
            }
            // What a fault has forged is refused by right, and sent again as it should be.
            if attempt.effect.is_none() && !self.courier.retries(&outcome) {
                break;
            }
            before = outcome;
        }
        self.core.stats.count(given_up, 1);
        self.core.ledger.give_up(&letter.facts, reached);
    }

    fn turn(&self, account: &str) -> Arc<Notify> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(account.to_owned()).or_default())
    }

    async fn send(&self, attempt: &Try<'_>) -> Outcome {
        let _permit = self.permits.acquire().await;
        let mut request = self.courier.request(&self.client, attempt);
        for (name, value) in &attempt.letter.headers {
            request = request.header(*name, value);
        }
        match request.body(attempt.body.clone()).send().await {
            Ok(answer) => {
                let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
                // Read whole, so that the connection can be used again.
                answer.bytes().await.ok();
                Outcome {
                    status,
                    headers,
                    silence: None,
                }
            }
            Err(error) if error.is_timeout() => Outcome::silent(Silence::Timeout),
            Err(error) if error.is_redirect() => Outcome::silent(Silence::Redirects),
            Err(_) => Outcome::silent(Silence::Connection),
        }
    }

    fn note(&self, letter: &Letter, number: usize, status: u16) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= KEPT {
            log.pop_front();
        }
        log.push_back(Attempt {
            event: letter.name.clone(),
            id: letter.id.clone(),
            account: letter.account.clone(),
            number,
            status,
        });
    }
}

/// What goes over the wire, padded or changed if the fault wants it.
fn padded(letter: &Letter, body: &Value) -> Bytes {
    let mut body = body.to_string().into_bytes();
    let Some(rule) = &letter.fault else {
        return body.into();
    };
    if rule.effect == Effect::Oversize {
        body.resize(rule.bytes.unwrap_or(26 * 1024 * 1024).max(body.len()), b' ');
    }
    rule.replaced(body.into())
}
