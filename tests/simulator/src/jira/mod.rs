//! Simulated Atlassian: OAuth 2.0 (3LO), Jira Cloud's REST API and webhooks.
//!
//! It follows Atlassian's documentation and the observed behaviour of its API. The identity
//! service is at `/atlassian/auth`, the API at `/atlassian/api`, and a site's Jira at
//! `ex/jira/{cloudId}` of the API. The URLs of sites are not served.

mod actions;
mod control;
mod generate;
mod jql;
mod limits;
mod oauth;
mod render;
mod rest;
mod settings;
mod webhooks;
mod world;

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, RwLockReadGuard};
use std::time::Duration;

use axum::Router;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::world::World;
use super::lock::{Mutex, Shared};
use super::provider::Provider;
use super::unfinished::Unfinished;
use super::usage::Quota;
use super::webhook_sender::WebhookSender;
use super::{Config, Core, Simulator, StartError};

pub use settings::{AdminWebhook, JiraOptions, Settings};

/// Slug in the ledger.
pub(crate) const SOURCE: &str = "jira";

/// The registered app.
pub(crate) struct App {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

/// The simulated service.
pub(crate) struct Jira {
    pub(crate) core: Arc<Core>,
    base: String,
    pub(crate) app: App,
    pub(crate) webhook_sender: WebhookSender,
    settings: Shared<Settings>,
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
        let settings = Shared::new(settings);
        let policy = webhooks::Atlassian {
            settings: settings.clone(),
            client_id: app.client_id.clone(),
            client_secret: app.client_secret.clone(),
        };
        let webhook_sender = WebhookSender::new(
            Arc::clone(&core),
            Arc::new(policy),
            "Atlassian Webhook HTTP Client",
            Duration::from_secs(20),
            config.delivery_concurrency.max(1),
        )?;
        let now = core.clock.seconds();
        generate::populate(&mut world, config);
        let service = Arc::new(Self {
            core,
            base: format!("{base}/atlassian"),
            app,
            webhook_sender,
            settings,
            world: Mutex::new(world),
        });
        generate::populate_history(&service, config, now);
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
}

impl Simulator {
    /// Changes settings of Jira and the Atlassian app.
    pub fn change_jira(&self, change: impl FnOnce(&mut Settings)) {
        self.providers.jira.change_settings(change);
    }
}

impl Provider for Jira {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn index(&self) -> &'static str {
        control::INDEX
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CLIENT_ID", self.app.client_id.clone()),
            ("CLIENT_SECRET", self.app.client_secret.clone()),
            ("AUTH_BASE_URL", format!("{}/auth", self.base)),
            ("API_BASE_URL", format!("{}/api", self.base)),
        ]
    }

    fn unlimited_env(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("POINTS_PER_SECOND", "1000000"),
            ("SITE_POINTS_PER_SECOND", "1000000"),
            ("REQUESTS_PER_SECOND", "1000"),
            ("BURST", "1000000"),
        ]
    }

    fn router(self: Arc<Self>) -> Router {
        Router::new()
            .nest(
                "/atlassian",
                oauth::router(&self).merge(rest::router(&self)),
            )
            .merge(control::router(self))
    }

    fn visible(&self) -> HashSet<u64> {
        self.world().visible_containers()
    }

    fn unfinished(&self) -> &Unfinished {
        self.webhook_sender.unfinished()
    }

    fn deliveries(&self) -> Value {
        self.webhook_sender.summary()
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

    fn shorten_retry_delays(&self) {
        self.change_settings(|settings| settings.retry_seconds = vec![0.1, 0.3, 0.6]);
    }

    fn run_activity(self: Arc<Self>, rate: f64, stop: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(crate::generate::run_activity(self, rate, stop))
    }
}
