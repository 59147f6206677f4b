//! Simulated Zoho Mail: mailboxes with folders, and outgoing webhooks.
//!
//! It follows Zoho's documentation, its description of the API and recorded rows and
//! deliveries. The API is at `/zoho/{dc}/api/accounts`. An account of the control API is an
//! organization; each of its people has a mailbox.

mod actions;
mod api;
mod content;
mod control;
mod errors;
mod folder;
mod generate;
mod mailbox;
mod render;
mod settings;
#[cfg(test)]
mod tests;
mod view;
mod webhook;
mod world;

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, RwLockReadGuard};

use axum::Router;
use futures::future::BoxFuture;
use reqwest::Client;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::generate::MailboxSize;
use self::mailbox::Mailbox;
use self::webhook::Secrets;
use self::world::World;
use super::Zoho;
use super::people::Person;
use crate::action::Acted;
use crate::lock::{Mutex, Shared};
use crate::provider::Provider;
use crate::unfinished::Unfinished;
use crate::usage::Quota;
use crate::webhook_sender::WebhookSender;
use crate::{Config, Core, Simulator, StartError};

pub use settings::{Settings, ZohoMailOptions};

/// Slug in the ledger.
pub(crate) const SOURCE: &str = "zoho_mail";

/// The simulated service.
pub(crate) struct ZohoMail {
    pub(crate) core: Arc<Core>,
    pub(crate) zoho: Arc<Zoho>,
    pub(crate) sender: WebhookSender,
    /// Client of the first requests of webhooks.
    client: Client,
    secrets: Secrets,
    settings: Shared<Settings>,
    world: Mutex<World>,
    /// Size of a mailbox when it is first opened.
    size: MailboxSize,
}

impl ZohoMail {
    pub(crate) fn start(
        config: &Config,
        _base: &str,
        seed: u64,
        core: Arc<Core>,
        zoho: Arc<Zoho>,
    ) -> Result<Arc<Self>, StartError> {
        let mut settings = Settings::default();
        if !config.enforces_limits {
            settings.calls_per_minute = None;
        }
        let settings = Shared::new(settings);
        let secrets = Secrets::default();
        let policy = webhook::Policy {
            settings: settings.clone(),
            secrets: Arc::clone(&secrets),
        };
        let sender = WebhookSender::new(
            Arc::clone(&core),
            Arc::new(policy),
            webhook::USER_AGENT,
            webhook::TIMEOUT,
            config.delivery_concurrency.max(1),
        )?;
        let client = Client::builder()
            .user_agent(webhook::USER_AGENT)
            .timeout(webhook::TIMEOUT)
            .no_proxy()
            .build()?;
        let service = Arc::new(Self {
            core,
            zoho,
            sender,
            client,
            secrets,
            settings,
            world: Mutex::new(World::new(seed ^ 0x007a_6d61_696c)),
            size: MailboxSize {
                history: config.history,
                old_mails: config.providers.zoho_mail.old_zoho_mails,
            },
        });
        let administrators = service.zoho.state().people.administrators();
        for owner in administrators {
            if let Some(person) = service.zoho.person(&owner) {
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

    /// The person with this login or address.
    pub(crate) fn find_person(&self, login: &str) -> Option<Person> {
        self.zoho.state().people.find(login).cloned()
    }

    /// The mailbox of a person, with its generated past when it is first opened.
    pub(crate) fn open<'w>(&self, world: &'w mut World, person: &Person) -> &'w mut Mailbox {
        self.open_with(world, person, self.size)
    }

    /// The mailbox of a person, which has this size when it is first opened.
    pub(crate) fn open_with<'w>(
        &self,
        world: &'w mut World,
        person: &Person,
        size: MailboxSize,
    ) -> &'w mut Mailbox {
        let owner = &person.login;
        if !world.mailboxes.contains_key(owner) {
            let seed = world.seed_of(owner);
            let prefix = world.prefix(seed);
            let container = self.zoho.container(SOURCE, owner);
            let mailbox = Mailbox::new(person, prefix, container, seed);
            world.mailboxes.insert(owner.clone(), mailbox);
            generate::populate(self, world, owner, size);
        }
        let mailbox = world.mailbox(owner);
        mailbox.party.address.clone_from(&person.address);
        mailbox
    }
}

impl Acted for ZohoMail {
    type World = World;

    fn core(&self) -> &Core {
        &self.core
    }

    fn locked_world(&self) -> &Mutex<World> {
        &self.world
    }
}

impl Simulator {
    /// Changes settings of Zoho Mail and its webhooks.
    pub fn change_zoho_mail(&self, change: impl FnOnce(&mut Settings)) {
        self.providers.zoho_mail.change_settings(change);
    }
}

impl Provider for ZohoMail {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn index(&self) -> &'static str {
        control::INDEX
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn unlimited_env(&self) -> &'static [(&'static str, &'static str)] {
        &[("CALLS_PER_MINUTE", "1000000")]
    }

    fn router(self: Arc<Self>) -> Router {
        api::router(&self).merge(control::router(self))
    }

    fn visible(&self) -> HashSet<u64> {
        self.zoho.visible(SOURCE, &[api::MESSAGES])
    }

    fn unfinished(&self) -> &Unfinished {
        self.sender.unfinished()
    }

    fn deliveries(&self) -> Value {
        self.sender.summary()
    }

    fn reset_limits(&self) {
        let mut state = self.zoho.state();
        state.locks.reset(SOURCE);
        state.tokens.reset_limits();
    }

    fn quota(&self, _account: &str, _limit: &str) -> Option<Quota> {
        let calls = self.settings().calls_per_minute?;
        Some(Quota {
            amount: u64::try_from(calls).unwrap_or(u64::MAX),
            window_seconds: api::WINDOW_SECONDS,
            is_shared: false,
        })
    }

    /// Mail that a view shows late, below newer rows, is found by a second read of the past.
    fn is_listed(&self, _kind: &str, dedupe_key: &str) -> bool {
        !self.world().late.contains(dedupe_key)
    }

    fn shorten_retry_delays(&self) {
        self.change_settings(|settings| {
            let delays = settings.retry_seconds.iter_mut();
            delays.for_each(|delay| *delay = delay.min(0.5));
        });
    }

    fn run_activity(self: Arc<Self>, rate: f64, stop: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(crate::generate::run_activity(self, rate, stop))
    }
}
