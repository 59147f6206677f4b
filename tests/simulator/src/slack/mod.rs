//! Simulated Slack: OAuth v2, the Web API and the Events API.
//!
//! It follows Slack's documentation and the observed behaviour of its API. All paths begin with
//! `/slack`: the consent page is `/slack/oauth/v2/authorize`, methods are
//! `/slack/api/{method}`.

mod access;
mod accounts;
mod actions;
mod api;
mod control;
mod entities;
mod events;
mod generate;
mod history;
mod lists;
mod oauth;
mod render;
mod scopes;
mod settings;
mod tokens;
mod world;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use axum::Router;
use futures::future::BoxFuture;
use serde_json::Value;

use self::world::World;
use super::usage::Quota;
use super::webhook_sender::WebhookSender;
use super::{Config, Core, StartError, control::Provider};

pub(crate) use generate::run_activity;
pub use settings::Settings;

/// Slug in the ledger.
pub(crate) const SOURCE: &str = "slack";

/// The registered app.
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    /// App-level token, for methods that accept no workspace's token.
    pub(crate) token: String,
}

/// The simulated service.
pub(crate) struct Slack {
    pub(crate) core: Arc<Core>,
    pub(crate) base: String,
    pub(crate) app: App,
    pub(crate) events: WebhookSender,
    settings: Arc<RwLock<Settings>>,
    world: Mutex<World>,
}

impl Slack {
    pub(crate) fn start(
        config: &Config,
        base: &str,
        seed: u64,
        core: Arc<Core>,
    ) -> Result<Arc<Self>, StartError> {
        let mut world = World::new(seed ^ 0x0073_6c61_636b);
        let app = App {
            id: world.id("A"),
            client_id: format!("{}.{}", world.number(), world.number()),
            client_secret: world.secret(32),
            token: format!("xapp-1-{}", world.secret(24)),
        };
        let settings = Arc::new(RwLock::new(Settings {
            callback_url: config.callback_url(SOURCE),
            webhook_url: config.delivery_url(SOURCE),
            signing_secret: world.secret(32),
            tiers: config.enforces_limits,
            ..Settings::default()
        }));
        let events = WebhookSender::new(
            Arc::clone(&core),
            Arc::new(events::Slackbot(Arc::clone(&settings))),
            events::USER_AGENT,
            events::RESPONSE_TIMEOUT,
            config.delivery_concurrency.max(1),
        )?;
        let now = core.clock.seconds();
        generate::populate(&mut world, config, now);
        let hub = Arc::new(Self {
            core,
            base: format!("{base}/slack"),
            app,
            events,
            settings,
            world: Mutex::new(world),
        });
        generate::populate_history(&hub, config, now);
        Ok(hub)
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Current settings.
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

/// All routes of Slack, and of its part of the control API.
pub(crate) fn router(hub: &Arc<Slack>) -> Router {
    Router::new()
        .nest("/slack", oauth::router(hub).merge(api::router(hub)))
        .merge(control::router(Arc::clone(hub)))
}

impl Provider for Slack {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn env(&self) -> Vec<(String, String)> {
        [
            ("APP_ID", self.app.id.clone()),
            ("APP_TOKEN", self.app.token.clone()),
            ("CLIENT_ID", self.app.client_id.clone()),
            ("CLIENT_SECRET", self.app.client_secret.clone()),
            ("WEBHOOK_SECRET", self.settings().signing_secret.clone()),
            ("BASE_URL", self.base.clone()),
        ]
        .into_iter()
        .map(|(name, value)| (format!("POBLYSH_SLACK_{name}"), value))
        .collect()
    }

    fn visible(&self) -> HashSet<u64> {
        let replies_need_user = self.settings().replies_need_user;
        self.world().visible_containers(replies_need_user)
    }

    fn unfinished(&self) -> usize {
        self.events.unfinished()
    }

    fn quiesce(&self, timeout: Duration) -> BoxFuture<'_, bool> {
        Box::pin(self.events.quiesce(timeout))
    }

    fn deliveries(&self) -> Value {
        self.events.summary()
    }

    fn reset_limits(&self) {
        self.world().windows.clear();
    }

    fn quota(&self, _account: &str, limit: &str) -> Option<Quota> {
        let amount = api::per_minute(limit, &self.settings())?;
        Some(Quota {
            amount: amount.into(),
            window_seconds: 60,
            is_shared: false,
        })
    }
}
