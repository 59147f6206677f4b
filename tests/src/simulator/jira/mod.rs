//! Atlassian, simulated: OAuth 2.0 (3LO), Jira Cloud's REST API, webhooks.
//!
//! Promises what Atlassian documents and what clients have observed. The identity service lies
//! at `/atlassian/auth`, the API at `/atlassian/api`, a site's Jira below `ex/jira/{cloudId}`
//! there. Sites' own addresses are names only; nobody is called there.

mod act;
mod control;
mod generate;
mod hooks;
mod jql;
mod limits;
mod oauth;
mod render;
mod rest;
mod settings;
mod world;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use axum::Router;
use futures::future::BoxFuture;
use serde_json::Value;

use self::world::World;
use super::outbox::Outbox;
use super::usage::Quota;
use super::{Config, Core, StartError, control::Provider};

pub(crate) use generate::live;
pub use settings::{AdminWebhook, Settings};

/// Slug in the ledger.
pub(crate) const SOURCE: &str = "jira";

/// The app, as it is registered.
pub(crate) struct App {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

/// The whole simulated service.
pub(crate) struct Jira {
    pub(crate) core: Arc<Core>,
    base: String,
    pub(crate) app: App,
    pub(crate) outbox: Outbox,
    settings: Arc<RwLock<Settings>>,
    world: Mutex<World>,
}

impl Jira {
    pub(crate) fn start(
        config: &Config,
        base: &str,
        seed: u64,
        core: Arc<Core>,
    ) -> Result<Arc<Self>, StartError> {
        let mut world = World::new(seed ^ 0x6a69_7261);
        let app = App {
            client_id: world.secret(32),
            client_secret: format!("ATOA{}", world.secret(60)),
        };
        let mut settings = Settings {
            callback_url: config.callback_url(SOURCE),
            webhook_url: config.delivery_url(SOURCE),
            ..Settings::default()
        };
        if !config.enforces_limits {
            settings.points_per_hour = None;
            settings.site_points_per_hour = None;
            settings.requests_per_second = None;
        }
        let settings = Arc::new(RwLock::new(settings));
        let courier = hooks::Atlassian {
            settings: Arc::clone(&settings),
            client_id: app.client_id.clone(),
            client_secret: app.client_secret.clone(),
        };
        let outbox = Outbox::new(
            Arc::clone(&core),
            Arc::new(courier),
            "Atlassian Webhook HTTP Client",
            Duration::from_secs(20),
            config.delivery_concurrency.max(1),
        )?;
        let now = core.clock.seconds();
        generate::populate(&mut world, config);
        let hub = Arc::new(Self {
            core,
            base: format!("{base}/atlassian"),
            app,
            outbox,
            settings,
            world: Mutex::new(world),
        });
        generate::history(&hub, config, now);
        Ok(hub)
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settings in force.
    pub(crate) fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        change(
            &mut self
                .settings
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Everything Atlassian serves.
pub(crate) fn router(hub: &Arc<Jira>) -> Router {
    Router::new()
        .nest("/atlassian", oauth::router(hub).merge(rest::router(hub)))
        .merge(control::router(Arc::clone(hub)))
}

impl Provider for Jira {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn env(&self) -> Vec<(String, String)> {
        [
            ("CLIENT_ID", self.app.client_id.clone()),
            ("CLIENT_SECRET", self.app.client_secret.clone()),
            ("AUTH_BASE_URL", format!("{}/auth", self.base)),
            ("API_BASE_URL", format!("{}/api", self.base)),
        ]
        .into_iter()
        .map(|(name, value)| (format!("POBLYSH_JIRA_{name}"), value))
        .collect()
    }

    fn visible(&self) -> HashSet<u64> {
        self.world().visible_containers()
    }

    fn unfinished(&self) -> usize {
        self.outbox.unfinished()
    }

    fn quiesce(&self, patience: Duration) -> BoxFuture<'_, bool> {
        Box::pin(self.outbox.quiesce(patience))
    }

    fn deliveries(&self) -> Value {
        self.outbox.summary()
    }

    fn reset_limits(&self) {
        self.world().usage = limits::Usage::default();
    }

    fn quota(&self, _account: &str, limit: &str) -> Option<Quota> {
        let settings = self.settings();
        let is_shared = limit == limits::APP;
        let amount = if is_shared {
            settings.points_per_hour?
        } else {
            settings.site_points_per_hour?
        };
        Some(Quota {
            amount,
            window_seconds: 3_600,
            is_shared,
        })
    }
}
