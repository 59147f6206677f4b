//! Simulated Zoho Cliq: channels, conversations and threads, and extensions that report them.
//!
//! It follows Zoho's descriptions of versions 2 and 3 and reports of other clients. The API is
//! at `/zoho/{dc}/api/v2` and `/zoho/{dc}/api/v3`. An account of the control API is an
//! organization, whose people share its channels.

mod actions;
mod api;
mod channels;
mod chat;
mod chats;
mod control;
mod envelope;
mod errors;
mod extensions;
mod facts;
mod generate;
mod messages;
mod page;
mod search;
mod sender;
mod settings;
#[cfg(test)]
mod tests;
mod time;
mod users;
mod world;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, MutexGuard, RwLockReadGuard};

use axum::Router;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::actions::Transaction;
use self::extensions::Extensions;
use self::facts::SOURCE;
use self::sender::Sender;
use self::world::{User, World};
use super::Zoho;
use crate::action::ActionTime;
use crate::lock::{Mutex, Shared};
use crate::provider::Provider;
use crate::unfinished::Unfinished;
use crate::usage::Quota;
use crate::webhook_sender::WebhookSender;
use crate::{Config, Core, Simulator, StartError};

pub use settings::{Settings, Throttle, ZohoCliqOptions};

/// The simulated service.
pub(crate) struct ZohoCliq {
    pub(crate) zoho: Arc<Zoho>,
    extensions: Arc<Extensions>,
    sender: WebhookSender,
    settings: Shared<Settings>,
    world: Mutex<World>,
    /// Channels of a new organization.
    channels: usize,
}

impl ZohoCliq {
    pub(crate) fn start(
        config: &Config,
        _base: &str,
        seed: u64,
        core: Arc<Core>,
        zoho: Arc<Zoho>,
    ) -> Result<Arc<Self>, StartError> {
        let mut settings = Settings::default();
        if !config.enforces_limits {
            settings.throttles.clear();
        }
        let settings = Shared::new(settings);
        let extensions = Arc::new(Extensions::default());
        let policy = Sender {
            extensions: Arc::clone(&extensions),
            settings: settings.clone(),
        };
        let sender = WebhookSender::new(
            core,
            Arc::new(policy),
            sender::USER_AGENT,
            sender::RESPONSE_TIMEOUT,
            config.delivery_concurrency.max(1),
        )?;
        let service = Arc::new(Self {
            zoho,
            extensions,
            sender,
            settings,
            world: Mutex::new(World::new(seed ^ 0x0063_6c69_7100)),
            channels: config.providers.zoho_cliq.cliq_channels,
        });
        generate::populate_history(&service, config);
        Ok(service)
    }

    /// The world, with each person of the family.
    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock();
        self.add_people(&mut world, None);
        world
    }

    /// Adds the people who are not in the world yet, and the chats of their organizations.
    ///
    /// New organizations get `channels`, instead of the usual number.
    fn add_people(&self, world: &mut World, channels: Option<usize>) {
        let (new, administrators) = {
            let state = self.zoho.state();
            if state.people.all().count() == world.users.len() {
                return;
            }
            let people = state.people.all();
            let new = people.filter(|person| !world.users.contains_key(&person.login));
            let administrators = state.people.administrators();
            (new.cloned().collect::<Vec<_>>(), administrators)
        };
        let now = self.zoho.core.clock.seconds();
        for person in &new {
            let user = User {
                login: person.login.clone(),
                zuid: person.zuid.to_string(),
                data_center: person.data_center,
                address: person.address.clone(),
                first_name: person.first_name.clone(),
                last_name: person.last_name.clone(),
                organization: person.organization,
                container: self.zoho.container(SOURCE, &person.login),
                is_administrator: administrators.contains(&person.login),
                modified: world::old_creation(now),
                chats: BTreeSet::new(),
            };
            world.users.insert(person.login.clone(), user);
        }
        let channels = channels.unwrap_or(self.channels);
        for admin in administrators {
            if new.iter().any(|person| person.login == admin) {
                generate::add_chats(world, &admin, channels, now);
            }
        }
    }

    /// Runs a change under the world's lock.
    fn transact<R>(&self, when: ActionTime, run: impl FnOnce(&mut Transaction<'_>) -> R) -> R {
        let millis = if when.is_live {
            self.zoho.core.clock.milliseconds()
        } else {
            when.at * 1_000
        };
        let mut world = self.world();
        run(&mut Transaction::new(self, &mut world, when, millis))
    }

    /// The current time, with deliveries.
    fn now(&self) -> ActionTime {
        ActionTime {
            at: self.zoho.core.clock.seconds(),
            is_live: true,
        }
    }

    /// Current settings.
    fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read()
    }
}

impl Simulator {
    /// Changes settings of Zoho Cliq.
    pub fn change_zoho_cliq(&self, change: impl FnOnce(&mut Settings)) {
        self.providers.zoho_cliq.settings.change(change);
    }
}

impl Provider for ZohoCliq {
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
        &[
            ("MESSAGES_PER_MINUTE", "2000000000"),
            ("REQUESTS_PER_MINUTE", "2000000000"),
        ]
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
        self.zoho.state().locks.reset(SOURCE);
    }

    fn quota(&self, _account: &str, limit: &str) -> Option<Quota> {
        let throttle = self.settings().throttles.get(limit).copied()?;
        Some(Quota {
            amount: throttle.per_minute as u64,
            window_seconds: u32::try_from(api::WINDOW_SECONDS).ok()?,
            is_shared: false,
        })
    }

    fn shorten_retry_delays(&self) {
        let shorten = |settings: &mut Settings| {
            for (seconds, short) in settings.retry_seconds.iter_mut().zip([0.1, 0.3, 0.6]) {
                *seconds = short;
            }
        };
        self.settings.change(shorten);
    }

    fn run_activity(self: Arc<Self>, rate: f64, stop: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(generate::run_activity(self, rate, stop))
    }
}
