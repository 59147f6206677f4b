//! Simulated Google Drive: files, folders, shared drives, and a log of changes per viewer.
//!
//! The API is at `/google/drive/v3`. An account of the control API is an organization; each of
//! its people has a My Drive.

mod actions;
mod api;
mod changes;
mod control;
mod facts;
mod files;
mod generate;
mod log;
mod order;
mod query;
mod render;
mod settings;
mod world;

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, RwLockReadGuard};

use axum::Router;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::world::World;
use super::channels::Channels;
use super::{Google, api as google_api};
use crate::lock::{Mutex, Shared};
use crate::provider::Provider;
use crate::unfinished::Unfinished;
use crate::usage::Quota;
use crate::{Config, Core, Simulator, StartError};

pub use settings::{GoogleDriveOptions, Settings};

/// Slug in the ledger.
pub(crate) const SOURCE: &str = "google_drive";

/// The simulated service.
pub(crate) struct GoogleDrive {
    pub(crate) google: Arc<Google>,
    pub(crate) channels: Arc<Channels>,
    settings: Shared<Settings>,
    world: Mutex<World>,
}

impl GoogleDrive {
    pub(crate) fn start(
        config: &Config,
        _base: &str,
        seed: u64,
        _core: Arc<Core>,
        google: Arc<Google>,
    ) -> Result<Arc<Self>, StartError> {
        let seed = seed ^ 0x0064_7269_7665;
        let channels = Channels::start(
            Arc::clone(&google),
            [
                "google_drive.pushes",
                "google_drive.delivered",
                "google_drive.given_up",
            ],
            config.delivery_concurrency.max(1),
            seed,
        )?;
        let now = google.core.clock.seconds();
        let service = Arc::new(Self {
            google,
            channels,
            settings: Shared::new(Settings::default()),
            world: Mutex::new(World::new(seed)),
        });
        generate::populate(&service, config, now);
        Ok(service)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// Current settings.
    fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read()
    }
}

impl Simulator {
    /// Changes settings of Google Drive.
    pub fn change_google_drive(&self, change: impl FnOnce(&mut Settings)) {
        self.providers.google_drive.settings.change(change);
    }
}

impl Provider for GoogleDrive {
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
            ("UNITS_PER_MINUTE", "2000000000"),
            ("USER_UNITS_PER_MINUTE", "2000000000"),
        ]
    }

    fn router(self: Arc<Self>) -> Router {
        google_api::router(&self).merge(control::router(self))
    }

    fn visible(&self) -> HashSet<u64> {
        self.google.visible(SOURCE, &api::SCOPES)
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
