//! Simulated Gmail: mailboxes with a history of changes, and pushes of Cloud Pub/Sub.
//!
//! It follows Google's documentation and recorded responses of the API, which is at
//! `/google/gmail/v1`. An account of the control API is an organization; each of its people has
//! a mailbox.

mod actions;
mod api;
mod content;
mod control;
mod encoding;
mod errors;
mod generate;
mod history;
mod id;
mod labels;
mod mailbox;
mod pubsub;
mod reading;
mod render;
mod search;
mod settings;
#[cfg(test)]
mod tests;
mod watch;
mod world;

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, RwLockReadGuard};

use axum::Router;
use chrono::{DateTime, SecondsFormat};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::actions::ActionTime;
use self::generate::MailboxSize;
use self::mailbox::Mailbox;
use self::world::World;
use super::people::Person;
use super::{Google, api as google_api};
use crate::lock::{Mutex, Shared};
use crate::provider::Provider;
use crate::unfinished::Unfinished;
use crate::usage::Quota;
use crate::webhook_sender::{Delivery, WebhookSender};
use crate::{Config, Core, Simulator, StartError};

pub use settings::{GmailOptions, Settings};

/// Slug in the ledger.
pub(crate) const SOURCE: &str = "gmail";

/// Name of a push's event, which fault rules match.
const NOTIFICATION: &str = "notification";

/// The simulated service.
pub(crate) struct Gmail {
    pub(crate) core: Arc<Core>,
    pub(crate) google: Arc<Google>,
    pub(crate) pusher: WebhookSender,
    settings: Shared<Settings>,
    world: Mutex<World>,
    /// Size of a mailbox when it is first opened.
    size: MailboxSize,
}

impl Gmail {
    pub(crate) fn start(
        config: &Config,
        _base: &str,
        seed: u64,
        core: Arc<Core>,
        google: Arc<Google>,
    ) -> Result<Arc<Self>, StartError> {
        let settings = Shared::new(Settings {
            webhook_url: config.delivery_url(SOURCE),
            ..Settings::default()
        });
        let policy = pubsub::Pusher::new(Arc::clone(&google), settings.clone());
        let pusher = WebhookSender::new(
            Arc::clone(&core),
            Arc::new(policy),
            pubsub::USER_AGENT,
            pubsub::ACK_DEADLINE,
            config.delivery_concurrency.max(1),
        )?;
        let service = Arc::new(Self {
            core,
            google,
            pusher,
            settings,
            world: Mutex::new(World::new(seed ^ 0x0067_6d61_696c)),
            size: MailboxSize {
                history: config.history,
                old_mails: config.providers.gmail.old_mails,
            },
        });
        let administrators = service.google.state().people.administrators();
        for owner in administrators {
            if let Some(person) = service.google.person(&owner) {
                let mut world = service.world();
                service.open(&mut world, &person);
            }
        }
        Ok(service)
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// Current settings.
    pub(crate) fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read()
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.settings.change(change);
    }

    /// The person with this id or address.
    pub(crate) fn find_person(&self, login: &str) -> Option<Person> {
        self.google.state().people.find(login).cloned()
    }

    /// The mailbox of a person, with its generated past when it is first opened.
    pub(crate) fn open<'w>(&self, world: &'w mut World, person: &Person) -> &'w mut Mailbox {
        self.open_with(world, person, self.size)
    }

    /// The mailbox of a person, which has this size when it is first opened.
    ///
    /// Records of the history that are too old are dropped.
    pub(crate) fn open_with<'w>(
        &self,
        world: &'w mut World,
        person: &Person,
        size: MailboxSize,
    ) -> &'w mut Mailbox {
        let now = self.core.clock.seconds();
        let owner = &person.sub;
        if !world.mailboxes.contains_key(owner) {
            let seed = world.seed_of(owner);
            let container = self.google.container(SOURCE, owner);
            let mailbox = Mailbox::new(owner, &person.address, container, seed);
            world.mailboxes.insert(owner.clone(), mailbox);
            generate::populate(self, world, owner, size, now);
        }
        let mailbox = world.mailbox(owner);
        mailbox.address.clone_from(&person.address);
        let dropped = mailbox.trim(now, self.settings().history_seconds);
        self.update_facts(mailbox, &dropped);
        mailbox
    }

    /// Sends the notification of a mailbox's changes, if its watch selects them.
    pub(crate) fn publish(&self, mailbox: &mut Mailbox, when: ActionTime) {
        let changes = mailbox.take_unpublished();
        let interval = self.settings().notification_milliseconds;
        let now = self.core.clock.milliseconds();
        if when.is_live && mailbox.publishes(&changes, now, interval) {
            self.notify(mailbox, when);
        }
    }

    /// Sends a notification of a mailbox's history id.
    pub(crate) fn notify(&self, mailbox: &mut Mailbox, when: ActionTime) {
        let fault = when.pick_fault(&self.core, NOTIFICATION, &mailbox.owner);
        let settings = self.settings();
        if !when.sends_event(&settings.webhook_url, fault.as_ref()) {
            return;
        }
        let published = DateTime::from_timestamp_millis(self.core.clock.milliseconds());
        let published = published
            .unwrap_or_default()
            .to_rfc3339_opts(SecondsFormat::Millis, true);
        let id = mailbox.publication_id();
        let (address, history_id) = (&mailbox.address, mailbox.history_id());
        let body = pubsub::body(&settings, address, history_id, &id, &published);
        self.pusher.submit(Delivery {
            name: NOTIFICATION.to_owned(),
            id,
            account: mailbox.owner.clone(),
            url: settings.webhook_url.clone(),
            headers: Vec::new(),
            body,
            fault,
            facts: Vec::new(),
        });
    }
}

impl Simulator {
    /// Changes settings of Gmail and its notifications.
    pub fn change_gmail(&self, change: impl FnOnce(&mut Settings)) {
        self.providers.gmail.change_settings(change);
    }
}

impl Provider for Gmail {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn index(&self) -> &'static str {
        control::INDEX
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        let settings = self.settings();
        vec![
            ("TOPIC", settings.topic_name()),
            ("PUSH_AUDIENCE", settings.audience().to_owned()),
            ("PUSH_ACCOUNT", settings.push_account.clone()),
        ]
    }

    fn unlimited_env(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("UNITS_PER_MINUTE", "2000000000"),
            ("USER_UNITS_PER_MINUTE", "2000000000"),
        ]
    }

    fn router(self: Arc<Self>) -> Router {
        google_api::router(&self).merge(control::router(self))
    }

    fn visible(&self) -> HashSet<u64> {
        self.google.visible(SOURCE, &api::READING)
    }

    fn unfinished(&self) -> &Unfinished {
        self.pusher.unfinished()
    }

    fn deliveries(&self) -> Value {
        self.pusher.summary()
    }

    fn reset_limits(&self) {
        self.google.state().quotas.reset(SOURCE);
    }

    fn quota(&self, _account: &str, limit: &str) -> Option<Quota> {
        self.google.quota(SOURCE, limit)
    }

    /// Mail that left the spam is in no record that adds it.
    fn is_listed(&self, _kind: &str, dedupe_key: &str) -> bool {
        !self.world().late.contains(dedupe_key)
    }

    fn shorten_retry_delays(&self) {
        self.change_settings(|settings| settings.retry_seconds = vec![0.1, 0.3, 0.6]);
    }

    fn run_activity(self: Arc<Self>, rate: f64, stop: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(generate::run_activity(self, rate, stop))
    }
}
