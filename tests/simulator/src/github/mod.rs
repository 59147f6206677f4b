//! Simulated GitHub: OAuth, a GitHub App, the REST API and webhooks.
//!
//! It follows GitHub's documentation and the observed behaviour of its API. Web pages are at
//! `/`. The REST API is at `/api/v3`, as in GitHub Enterprise, and also at `/` for clients with
//! a single base URL.

mod actions;
mod app;
mod apps;
mod caller;
mod control;
mod facts;
mod generate;
mod installation_tokens;
mod limits;
mod metering;
mod middleware;
mod oauth;
mod pages;
mod render;
mod reply;
mod rest;
mod settings;
mod tokens;
mod webhooks;
mod world;

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, RwLockReadGuard};

use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::actions::Transaction;
use self::caller::installation_hourly;
use self::world::{Urls, World};
use super::lock::{Mutex, Shared};
use super::provider::Provider;
use super::unfinished::Unfinished;
use super::usage::Quota;
use super::{Config, Core, StartError};

pub use settings::{GitHubOptions, Settings};

/// Slug in the ledger.
pub(crate) const SOURCE: &str = "github";

/// The simulated service.
pub(crate) struct GitHub {
    pub(crate) core: Arc<Core>,
    pub(crate) urls: Urls,
    pub(crate) app: app::App,
    pub(crate) tokens: tokens::Tokens,
    pub(crate) limits: limits::Limits,
    pub(crate) webhooks: webhooks::Webhooks,
    settings: Shared<Settings>,
    world: Mutex<World>,
}

impl GitHub {
    pub(crate) fn start(
        config: &Config,
        base: &str,
        seed: u64,
        core: Arc<Core>,
    ) -> Result<Arc<Self>, StartError> {
        let urls = Urls {
            web: base.to_owned(),
            api: format!("{base}/api/v3"),
        };
        let (app, webhook_secret) = app::App::register(seed ^ 0x0061_7070)?;
        let mut world = World::new(
            urls.clone(),
            app.id,
            app.slug.clone(),
            app.client_id.clone(),
            seed,
        );
        let per_window = |limit| {
            if config.enforces_limits {
                limit
            } else {
                limits::UNLIMITED
            }
        };
        let options = &config.providers.github;
        let settings = Shared::new(Settings {
            webhook_url: config.delivery_url(SOURCE),
            webhook_secret,
            callback_urls: vec![config.callback_url(SOURCE)],
            setup_url: config.callback_url(SOURCE),
            oauth_on_install: options.oauth_on_install,
            deny_authorizations: false,
            long_tokens: false,
            installation_token_seconds: 3_600,
            user_token_seconds: 28_800,
            form_webhooks: false,
            ordered: true,
            delivery_concurrency: config.delivery_concurrency.max(1),
            rate_limit: per_window(options.rate_limit),
            search_limit: per_window(30),
            search_lag_seconds: 0,
            searches_time_out: false,
            points_per_minute: config.enforces_limits.then_some(900),
            max_concurrent: config.enforces_limits.then_some(100),
            permissions: world.permissions.clone(),
            events: render::EVENTS.map(str::to_owned).to_vec(),
        });
        let sender =
            webhooks::Webhooks::new(Arc::clone(&core), settings.clone(), app.id, app.hook_id)?;
        let now = core.clock.seconds();
        generate::populate(&mut world, config, now);
        let service = Arc::new(Self {
            core,
            urls,
            app,
            tokens: tokens::Tokens::new(seed ^ 0x0074_6f6b),
            limits: limits::Limits::default(),
            webhooks: sender,
            settings,
            world: Mutex::new(world),
        });
        generate::populate_history(&service, config.history, now);
        Ok(service)
    }

    /// Locks the world.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// Runs a transaction on the world at the current time.
    pub(crate) fn transact<R>(&self, run: impl FnOnce(&mut Transaction<'_>) -> R) -> R {
        let mut world = self.world();
        run(&mut Transaction::new(
            self,
            &mut world,
            self.core.clock.seconds(),
        ))
    }

    /// Current settings.
    pub(crate) fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read()
    }
}

impl Provider for GitHub {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn index(&self) -> &'static str {
        control::INDEX
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        let settings = self.settings();
        vec![
            ("APP_ID", self.app.id.to_string()),
            ("APP_SLUG", self.app.slug.clone()),
            ("CLIENT_ID", self.app.client_id.clone()),
            ("CLIENT_SECRET", self.app.client_secret.clone()),
            ("WEBHOOK_SECRET", settings.webhook_secret.clone()),
            ("PRIVATE_KEY", STANDARD.encode(&self.app.private_key_pem)),
            ("WEB_BASE_URL", self.urls.web.clone()),
            ("API_BASE_URL", self.urls.api.clone()),
        ]
    }

    fn unlimited_env(&self) -> &'static [(&'static str, &'static str)] {
        &[("REQUESTS_PER_SECOND", "500"), ("BURST", "1000")]
    }

    fn router(self: Arc<Self>) -> Router {
        let api = middleware::wrap_api(apps::router().merge(rest::router()), &self);
        let web = middleware::wrap_pages(oauth::router().merge(pages::router()), &self);
        Router::new()
            .nest("/api/v3", api.clone())
            .merge(api)
            .merge(web)
            .merge(control::router(self))
            .fallback(middleware::unknown_route)
    }

    fn visible(&self) -> HashSet<u64> {
        self.world().visible_repositories()
    }

    fn unfinished(&self) -> &Unfinished {
        self.webhooks.unfinished()
    }

    fn deliveries(&self) -> Value {
        self.webhooks.log().summary()
    }

    fn reset_limits(&self) {
        self.limits.reset();
    }

    fn quota(&self, account: &str, limit: &str) -> Option<Quota> {
        let settings = self.settings().clone();
        let (amount, window_seconds) = match limit {
            "core" => {
                let (world, base) = (self.world(), settings.rate_limit);
                let account = world.account_by_login(account);
                let installed = account.and_then(|account| world.installation_for(account.id));
                let hourly = installed.map(|found| installation_hourly(&world, found, base));
                (hourly.unwrap_or(base), 3_600)
            }
            "search" => (settings.search_limit, 60),
            "secondary" => (settings.points_per_minute?, 60),
            _ => return None,
        };
        (amount < limits::UNLIMITED).then_some(Quota {
            amount: amount.into(),
            window_seconds,
            is_shared: false,
        })
    }

    /// Further attempts of an old workflow run are on no list as they happen.
    fn is_listed(&self, kind: &str, dedupe_key: &str) -> bool {
        kind != "workflow_completed" || dedupe_key.ends_with(":1")
    }

    fn run_activity(self: Arc<Self>, rate: f64, stop: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(generate::run_activity(self, rate, stop))
    }
}
