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
use std::sync::{Arc, MutexGuard, RwLockReadGuard};

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

pub use settings::{Settings, SlackOptions};

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
    settings: Shared<Settings>,
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
        let settings = Shared::new(Settings {
            callback_url: config.callback_url(SOURCE),
            webhook_url: config.delivery_url(SOURCE),
            signing_secret: world.hex_secret(),
            tiers: config.enforces_limits,
            ..Settings::default()
        });
        let events = WebhookSender::new(
            Arc::clone(&core),
            Arc::new(events::Slackbot(settings.clone())),
            events::USER_AGENT,
            events::RESPONSE_TIMEOUT,
            config.delivery_concurrency.max(1),
        )?;
        let now = core.clock.seconds();
        generate::populate(&mut world, config, now);
        let service = Arc::new(Self {
            core,
            base: format!("{base}/slack"),
            app,
            events,
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
    /// Changes settings of Slack and its app.
    pub fn change_slack(&self, change: impl FnOnce(&mut Settings)) {
        self.providers.slack.change_settings(change);
    }
}

impl Provider for Slack {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn index(&self) -> &'static str {
        control::INDEX
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("APP_ID", self.app.id.clone()),
            ("APP_TOKEN", self.app.token.clone()),
            ("CLIENT_ID", self.app.client_id.clone()),
            ("CLIENT_SECRET", self.app.client_secret.clone()),
            ("WEBHOOK_SECRET", self.settings().signing_secret.clone()),
            ("BASE_URL", self.base.clone()),
        ]
    }

    fn unlimited_env(&self) -> &'static [(&'static str, &'static str)] {
        &[("RATE_FACTOR", "10000")]
    }

    fn router(self: Arc<Self>) -> Router {
        Router::new()
            .nest("/slack", oauth::router(&self).merge(api::router(&self)))
            .merge(control::router(self))
    }

    fn visible(&self) -> HashSet<u64> {
        let replies_need_user = self.settings().replies_need_user;
        self.world().visible_containers(replies_need_user)
    }

    fn unfinished(&self) -> &Unfinished {
        self.events.unfinished()
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

    /// Replies in old threads and edits are on no list as they happen.
    fn is_listed(&self, kind: &str, _dedupe_key: &str) -> bool {
        !matches!(kind, "thread_replied" | "message_edited")
    }

    fn shorten_retry_delays(&self) {
        self.change_settings(|settings| settings.retry_seconds = vec![0.0, 0.2, 0.5]);
    }

    fn run_activity(self: Arc<Self>, rate: f64, stop: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(crate::generate::run_activity(self, rate, stop))
    }
}
