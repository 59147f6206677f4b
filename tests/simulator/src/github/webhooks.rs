//! Webhook deliveries: signing, sending, log, and redelivery on request.
//!
//! Deliveries have GitHub's headers and signatures and a timeout of ten seconds. GitHub does not
//! retry them; the app can list the log and request a redelivery. With `ordered`, a delivery
//! starts after the previous one of its account has an outcome.

mod log;
mod send;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Semaphore;

pub(crate) use log::Listing;

use super::GitHub;
use super::settings::Settings;
use super::world::Id;
use crate::Core;
use crate::faults::{Effect, Rule, Target};
use crate::lock::{Mutex, Shared};
use crate::unfinished::Unfinished;

/// Maximum size of a payload; larger ones are dropped without a log entry, as by GitHub.
const MAX_PAYLOAD_BYTES: usize = 25 * 1024 * 1024;

/// An event for the app.
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) action: Option<&'static str>,
    /// Login of the account, for fault rules and order.
    pub(crate) account: String,
    pub(crate) installation: Option<Id>,
    pub(crate) repository: Option<Id>,
    pub(crate) payload: Value,
}

/// A delivery to send.
#[derive(Clone)]
pub(crate) struct Delivery {
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
struct AccountQueue {
    pending: VecDeque<Delivery>,
    held: Option<Delivery>,
    running: bool,
}

pub(crate) struct Inner {
    core: Arc<Core>,
    settings: Shared<Settings>,
    client: reqwest::Client,
    hook_id: Id,
    app_id: Id,
    log: log::Log,
    queues: Mutex<HashMap<String, AccountQueue>>,
    permits: Arc<Semaphore>,
    unfinished: Unfinished,
    runtime: tokio::runtime::Handle,
}

/// Sender of deliveries.
#[derive(Clone)]
pub(crate) struct Webhooks {
    inner: Arc<Inner>,
}

impl Webhooks {
    pub(crate) fn new(
        core: Arc<Core>,
        settings: Shared<Settings>,
        app_id: Id,
        hook_id: Id,
    ) -> Result<Self, reqwest::Error> {
        let permits = settings.read().delivery_concurrency;
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
            queues: Mutex::default(),
            permits: Arc::new(Semaphore::new(permits)),
            unfinished: Unfinished::default(),
            runtime: tokio::runtime::Handle::current(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Queues an event and returns the GUID of its delivery.
    ///
    /// `None` if the event is neither sent nor logged.
    pub(crate) fn enqueue(&self, service: &GitHub, event: Event) -> Option<String> {
        if service.settings().webhook_url.is_empty() {
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
            body = rule.apply_to_body(body);
        }
        if body.len() > MAX_PAYLOAD_BYTES {
            return None;
        }
        let guid = uuid::Uuid::new_v4().to_string();
        self.inner.core.stats.count("github.events", 1);
        self.inner.submit(Delivery {
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

    /// Sends a logged delivery again with the same GUID.
    ///
    /// `false` if the delivery is unknown or the log no longer has its payload.
    pub(crate) fn redeliver(&self, id: u64) -> bool {
        let Some(entry) = self.inner.log.get(id) else {
            return false;
        };
        let Some(body) = entry.body else {
            return false;
        };
        let fault = self
            .fault(entry.event, entry.action, &entry.account)
            .map(|rule| match rule.effect {
                Effect::DropSilently => Rule {
                    effect: Effect::Drop,
                    ..rule
                },
                _ => rule,
            });
        self.inner.core.stats.count("github.redeliveries", 1);
        self.inner.submit(Delivery {
            guid: entry.guid,
            event: entry.event,
            action: entry.action,
            account: entry.account,
            installation: entry.installation,
            repository: entry.repository,
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

    /// Log of deliveries.
    pub(crate) fn log(&self) -> &log::Log {
        &self.inner.log
    }

    /// Deliveries without an outcome.
    pub(crate) fn unfinished(&self) -> &Unfinished {
        &self.inner.unfinished
    }
}

impl Inner {
    /// Queues a delivery, delayed or held back if its fault requires it.
    fn submit(self: &Arc<Self>, delivery: Delivery) {
        self.unfinished.add();
        let rule = delivery.fault.clone();
        let seconds = |default: f64| {
            rule.as_ref()
                .and_then(|rule| rule.seconds)
                .unwrap_or(default)
        };
        match rule.as_ref().map(|rule| rule.effect) {
            Some(Effect::Delay) => self.push_later(delivery, seconds(5.0)),
            Some(Effect::Reorder) => self.hold(delivery, seconds(2.0)),
            _ => self.push(delivery),
        }
    }

    fn push_later(self: &Arc<Self>, delivery: Delivery, seconds: f64) {
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await;
            inner.push(delivery);
        });
    }

    /// Holds a delivery until the next one of its account is queued, or until a timeout.
    fn hold(self: &Arc<Self>, delivery: Delivery, seconds: f64) {
        let (account, guid) = (delivery.account.clone(), delivery.guid.clone());
        let previous = self
            .queues
            .lock()
            .entry(account.clone())
            .or_default()
            .held
            .replace(delivery);
        if let Some(previous) = previous {
            self.push(previous);
        }
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await;
            let held = inner.queues.lock().get_mut(&account).and_then(|queue| {
                let is_same = queue.held.as_ref().is_some_and(|held| held.guid == guid);
                if is_same { queue.held.take() } else { None }
            });
            if let Some(delivery) = held {
                inner.push(delivery);
            }
        });
    }

    fn push(self: &Arc<Self>, delivery: Delivery) {
        let ordered = self.settings.read().ordered;
        if !ordered {
            let inner = Arc::clone(self);
            self.runtime
                .spawn(async move { inner.send(delivery).await });
            return;
        }
        let account = delivery.account.clone();
        let mut queues = self.queues.lock();
        let queue = queues.entry(account.clone()).or_default();
        queue.pending.push_back(delivery);
        let held = queue.held.take();
        queue.pending.extend(held);
        if !queue.running {
            queue.running = true;
            let inner = Arc::clone(self);
            self.runtime
                .spawn(async move { inner.drain(account).await });
        }
    }

    async fn drain(self: Arc<Self>, account: String) {
        while let Some(delivery) = self.next_delivery(&account) {
            self.send(delivery).await;
        }
    }

    fn next_delivery(&self, account: &str) -> Option<Delivery> {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(account)?;
        let next = queue.pending.pop_front();
        queue.running = next.is_some();
        next
    }
}
