//! Simulated Google Calendar: calendars with events and series, and copies for guests.
//!
//! The API is at `/google/calendar/v3`. An account of the control API is an organization; each
//! of its people has a primary calendar and further ones. The behaviour of series follows
//! recorded answers: one change of a series returns the series, its exceptions and its later
//! parts, all with the same time of change.

mod actions;
mod api;
mod change_log;
mod control;
mod errors;
mod event;
mod expand;
mod facts;
mod generate;
mod list;
mod query;
mod recurrence;
mod render;
mod series;
mod settings;
#[cfg(test)]
mod tests;
mod time;
mod tokens;
mod world;

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, RwLockReadGuard};

use axum::Router;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::actions::{Changed, NewUser, Transaction};
use self::facts::settle;
use self::time::ZONES;
use self::world::World;
use super::channels::Channels;
use super::{Google, api as google_api};
use crate::action::ActionTime;
use crate::lock::{Mutex, Shared};
use crate::provider::Provider;
use crate::unfinished::Unfinished;
use crate::usage::Quota;
use crate::{Config, Core, Simulator, StartError};

pub(crate) use facts::SOURCE;
pub use settings::{GoogleCalendarOptions, Settings};

/// The simulated service.
pub(crate) struct GoogleCalendar {
    google: Arc<Google>,
    channels: Arc<Channels>,
    settings: Shared<Settings>,
    world: Mutex<World>,
    /// Secondary calendars of a person.
    calendars: usize,
}

impl GoogleCalendar {
    pub(crate) fn start(
        config: &Config,
        _base: &str,
        seed: u64,
        _core: Arc<Core>,
        google: Arc<Google>,
    ) -> Result<Arc<Self>, StartError> {
        let seed = seed ^ 0x6361_6c65_6e64_6172;
        let channels = Channels::start(
            Arc::clone(&google),
            [
                "google_calendar.pushes",
                "google_calendar.delivered",
                "google_calendar.given_up",
            ],
            config.delivery_concurrency.max(1),
            seed,
        )?;
        let service = Arc::new(Self {
            google,
            channels,
            settings: Shared::new(Settings::default()),
            world: Mutex::new(World::new(seed)),
            calendars: config.providers.google_calendar.calendars,
        });
        generate::populate_history(&service, config);
        Ok(service)
    }

    /// The world, with a calendar for each person of the family.
    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock();
        self.add_people(&mut world, None);
        world
    }

    /// Adds the people that have no calendar yet.
    ///
    /// New administrators get `calendars` secondary ones, instead of the usual number.
    fn add_people(&self, world: &mut World, calendars: Option<usize>) {
        let missing: Vec<_> = {
            let state = self.google.state();
            if state.people.all().count() == world.users.len() {
                return;
            }
            let people = state.people.all();
            let people = people.filter(|person| !world.users.contains_key(&person.sub));
            let administrators = state.people.administrators();
            people
                .map(|person| (person.clone(), administrators.contains(&person.sub)))
                .collect()
        };
        let at = self.google.core.clock.seconds();
        for (person, is_administrator) in missing {
            let zone = ZONES[world.users.len() % ZONES.len()];
            let new = NewUser {
                login: &person.sub,
                address: &person.address,
                name: &person.name,
                zone,
            };
            let count = calendars.filter(|_| is_administrator);
            let count = count.unwrap_or(self.calendars);
            Transaction::new(world, &self.google.core.ledger, at).add_user(&new, count);
        }
    }

    /// Runs a change under the world's lock, and sends messages about changed lists.
    fn transact<R>(&self, when: ActionTime, run: impl FnOnce(&mut Transaction<'_>) -> R) -> R {
        let (result, changed) = {
            let mut world = self.world();
            let ledger = &self.google.core.ledger;
            let mut transaction = Transaction::new(&mut world, ledger, when.at);
            let result = run(&mut transaction);
            (result, transaction.changed)
        };
        if when.is_live {
            for list in changed {
                self.channels.notify(&match list {
                    Changed::Events(calendar) => calendar,
                    Changed::CalendarList(login) => list::calendar_list_name(&login),
                });
            }
        }
        result
    }

    /// The current time, with messages about changes.
    fn now(&self) -> ActionTime {
        ActionTime {
            at: self.google.core.clock.seconds(),
            is_live: true,
        }
    }

    /// Removes cancelled events that are too old, with their facts.
    fn remove_tombstones(&self, world: &mut World) {
        let Some(days) = self.settings().tombstone_days else {
            return;
        };
        let before = (self.google.core.clock.seconds() - days * 86_400) * 1_000_000;
        let mut removed = Vec::new();
        for (id, calendar) in &mut world.calendars {
            let bases = calendar.remove_tombstones(before);
            removed.extend(bases.into_iter().map(|base| (id.clone(), base)));
        }
        for (calendar, base) in removed {
            settle(world, &self.google.core.ledger, &calendar, &base);
        }
    }

    /// Current settings.
    fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read()
    }
}

impl Simulator {
    /// Changes settings of Google Calendar.
    pub fn change_google_calendar(&self, change: impl FnOnce(&mut Settings)) {
        self.providers.google_calendar.settings.change(change);
    }
}

impl Provider for GoogleCalendar {
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
            ("REQUESTS_PER_MINUTE", "2000000000"),
            ("USER_REQUESTS_PER_MINUTE", "2000000000"),
        ]
    }

    fn router(self: Arc<Self>) -> Router {
        google_api::router(&self).merge(control::router(self))
    }

    fn visible(&self) -> HashSet<u64> {
        let mut world = self.world();
        self.remove_tombstones(&mut world);
        let state = self.google.state();
        world.visible_containers(|login| {
            let granted = state.tokens.granted(login);
            granted.is_some_and(|granted| {
                let mut scopes = api::EVENT_SCOPES.iter();
                scopes.any(|scope| granted.contains(*scope))
            })
        })
    }

    fn unfinished(&self) -> &Unfinished {
        self.channels.sender().unfinished()
    }

    fn deliveries(&self) -> Value {
        self.channels.sender().summary()
    }

    fn reset_limits(&self) {
        self.google.state().quotas.reset(SOURCE);
    }

    fn quota(&self, _account: &str, limit: &str) -> Option<Quota> {
        self.google.quota(SOURCE, limit)
    }

    fn run_activity(self: Arc<Self>, rate: f64, stop: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(generate::run_activity(self, rate, stop))
    }
}
