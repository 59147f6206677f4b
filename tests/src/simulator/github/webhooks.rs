//! Deliveries: signed, sent in order, logged, sent again on request.
//!
//! Promises GitHub's headers and signatures, ten seconds of patience, no retry
//! of its own, and a log that the app can list and redeliver from. Within an
//! account, a delivery starts when the one before has been answered, unless
//! `ordered` is off.

mod log;
mod send;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};

pub(crate) use log::Listing;

use super::GitHub;
use super::settings::Settings;
use super::world::Id;
use crate::simulator::Core;
use crate::simulator::faults::{Effect, Rule, Target};

/// Payloads above this are never sent, and nobody is told.
const LARGEST: usize = 25 * 1024 * 1024;

/// Something the app is to hear of.
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) action: Option<&'static str>,
    /// Login of the account, for fault rules and ordering.
    pub(crate) account: String,
    pub(crate) installation: Option<Id>,
    pub(crate) repository: Option<Id>,
    pub(crate) payload: Value,
}

/// A delivery that is to be sent.
#[derive(Clone)]
pub(crate) struct Outgoing {
    guid: String,
    event: &'static str,
    action: Option<&'static str>,
    account: String,
    installation: Option<Id>,
    repository: Option<Id>,
    redelivery: bool,
    body: Bytes,
    fault: Option<Rule>,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Outgoing>,
    held: Option<Outgoing>,
    running: bool,
}

pub(crate) struct Inner {
    core: Arc<Core>,
    settings: Arc<RwLock<Settings>>,
    client: reqwest::Client,
    hook_id: Id,
    app_id: Id,
    log: log::Log,
    lanes: Mutex<HashMap<String, Lane>>,
    permits: Arc<Semaphore>,
    unfinished: AtomicUsize,
    finished: Notify,
    runtime: tokio::runtime::Handle,
}

/// The sender of deliveries.
#[derive(Clone)]
pub(crate) struct Webhooks {
    inner: Arc<Inner>,
}

impl Webhooks {
    pub(crate) fn new(
        core: Arc<Core>,
        settings: Arc<RwLock<Settings>>,
        app_id: Id,
        hook_id: Id,
    ) -> Result<Self, reqwest::Error> {
        let permits = settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .delivery_concurrency;
        let client = reqwest::Client::builder()
            .user_agent("GitHub-Hookshot/5c1f9b0")
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(permits)
            .no_proxy()
            .build()?;
        let inner = Inner {
            log: log::Log::new(),
            core,
            settings,
            client,
            hook_id,
            app_id,
            lanes: Mutex::default(),
            permits: Arc::new(Semaphore::new(permits)),
            unfinished: AtomicUsize::new(0),
            finished: Notify::new(),
            runtime: tokio::runtime::Handle::current(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Takes an event for delivery and answers its GUID; `None` if it will never
    /// be sent nor logged.
    pub(crate) fn enqueue(&self, hub: &GitHub, event: Event) -> Option<String> {
        if hub.settings().webhook_url.is_empty() {
            return None;
        }
        let fault = self.fault(event.name, event.action, &event.account);
        if fault
            .as_ref()
            .is_some_and(|rule| rule.effect == Effect::DropSilently)
        {
            return None;
        }
        let mut body = Bytes::from(event.payload.to_string());
        if let Some(rule) = &fault {
            body = rule.replaced(body);
        }
        if body.len() > LARGEST {
            return None;
        }
        let guid = uuid::Uuid::new_v4().to_string();
        self.inner.core.stats.count("github.events", 1);
        self.inner.submit(Outgoing {
            guid: guid.clone(),
            event: event.name,
            action: event.action,
            account: event.account,
            installation: event.installation,
            repository: event.repository,
            redelivery: false,
            body,
            fault,
        });
        Some(guid)
    }

    /// Sends a logged delivery again under its GUID; `false` if it is unknown or
    /// its payload is no longer kept.
    pub(crate) fn redeliver(&self, id: u64) -> bool {
        let Some(delivered) = self.inner.log.get(id) else {
            return false;
        };
        let Some(body) = delivered.body else {
            return false;
        };
        let fault = self
            .fault(delivered.event, delivered.action, &delivered.account)
            .map(|rule| match rule.effect {
                Effect::DropSilently => Rule {
                    effect: Effect::Drop,
                    ..rule
                },
                _ => rule,
            });
        self.inner.core.stats.count("github.redeliveries", 1);
        self.inner.submit(Outgoing {
            guid: delivered.guid,
            event: delivered.event,
            action: delivered.action,
            account: delivered.account,
            installation: delivered.installation,
            repository: delivered.repository,
            redelivery: true,
            body,
            fault,
        });
        true
    }

    fn fault(&self, event: &str, action: Option<&str>, account: &str) -> Option<Rule> {
        let subject = action.map_or_else(|| event.to_owned(), |action| format!("{event}.{action}"));
        self.inner
            .core
            .faults
            .pick(Target::Delivery, &subject, Some(account))
    }

    /// The log, for listing.
    pub(crate) fn log(&self) -> &log::Log {
        &self.inner.log
    }

    /// Deliveries that have not been answered yet.
    pub(crate) fn unfinished(&self) -> usize {
        self.inner.unfinished.load(Ordering::SeqCst)
    }

    /// Waits until every delivery has been answered; `false` on timeout.
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
}

impl Inner {
    fn lanes(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a delivery over, early or late as its fault wants.
    fn submit(self: &Arc<Self>, outgoing: Outgoing) {
        self.unfinished.fetch_add(1, Ordering::SeqCst);
        let rule = outgoing.fault.clone();
        let seconds = |otherwise: f64| {
            rule.as_ref()
                .and_then(|rule| rule.seconds)
                .unwrap_or(otherwise)
        };
        match rule.as_ref().map(|rule| rule.effect) {
            Some(Effect::Delay) => self.later(outgoing, seconds(5.0)),
            Some(Effect::Reorder) => self.hold(outgoing, seconds(2.0)),
            _ => self.push(outgoing),
        }
    }

    fn later(self: &Arc<Self>, outgoing: Outgoing, seconds: f64) {
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await;
            inner.push(outgoing);
        });
    }

    /// Keeps a delivery back until the next one of its account has gone ahead,
    /// or until nothing came for some time.
    fn hold(self: &Arc<Self>, outgoing: Outgoing, seconds: f64) {
        let (account, guid) = (outgoing.account.clone(), outgoing.guid.clone());
        let before = self
            .lanes()
            .entry(account.clone())
            .or_default()
            .held
            .replace(outgoing);
        if let Some(before) = before {
            self.push(before);
        }
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await;
            let still = inner.lanes().get_mut(&account).and_then(|lane| {
                let same = lane.held.as_ref().is_some_and(|held| held.guid == guid);
                if same { lane.held.take() } else { None }
            });
            if let Some(outgoing) = still {
                inner.push(outgoing);
            }
        });
    }

    fn push(self: &Arc<Self>, outgoing: Outgoing) {
        let ordered = self
            .settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .ordered;
        if !ordered {
            let inner = Arc::clone(self);
            self.runtime
                .spawn(async move { inner.send(outgoing).await });
            return;
        }
        let account = outgoing.account.clone();
        let mut lanes = self.lanes();
        let lane = lanes.entry(account.clone()).or_default();
        lane.waiting.push_back(outgoing);
        let held = lane.held.take();
        lane.waiting.extend(held);
        if !lane.running {
            lane.running = true;
            let inner = Arc::clone(self);
            self.runtime
                .spawn(async move { inner.drain(account).await });
        }
    }

    async fn drain(self: Arc<Self>, account: String) {
        while let Some(outgoing) = self.next_of(&account) {
            self.send(outgoing).await;
        }
    }

    fn next_of(&self, account: &str) -> Option<Outgoing> {
        let mut lanes = self.lanes();
        let lane = lanes.get_mut(account)?;
        let next = lane.waiting.pop_front();
        lane.running = next.is_some();
        next
    }
}
