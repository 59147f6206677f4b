//! The start of the api-server.

use std::sync::Arc;

use shared::clock::{DatabaseClock, SharedClock};
use shared::connectors::{ConnectorDeps, ConnectorSettings, Registry};
use shared::credentials::Credentials;
use shared::crypto::Keyring;
use shared::db::{Db, Role};
use shared::http::HttpError;
use shared::queue::{JobQueue, Notifier, PgJobQueue};
use shared::ratelimit::connector_deps;
use shared::service::{Bootstrap, Service, StartError};
use shared::signals::Feed;
use shared::telemetry::MetricsHandle;
use tokio::net::TcpListener;

use crate::config::Config;
use crate::feed_watcher::FeedWatcher;
use crate::health_review;
use crate::limits::Limits;
use crate::pages::Pages;
use crate::reading_metrics;
use crate::reseal;
use crate::router;
use crate::state::AppState;

/// Starts the api-server on `listener`.
pub async fn start(
    config: Config,
    listener: TcpListener,
    metrics: MetricsHandle,
) -> Result<Service, StartError> {
    start_with(config, listener, metrics, Registry::new).await
}

/// Like [`start`], with connectors that the caller creates from the settings.
pub async fn start_with(
    config: Config,
    listener: TcpListener,
    metrics: MetricsHandle,
    connectors: impl FnOnce(ConnectorSettings, &ConnectorDeps) -> Result<Registry, HttpError>,
) -> Result<Service, StartError> {
    let replica = Db::open_replica(&config.service.database, Role::Api)?;
    let bootstrap = Bootstrap::start(config.service.clone(), metrics).await?;
    let state = build_state(config, replica, &bootstrap, connectors)?;
    let lifecycle = bootstrap.lifecycle();
    lifecycle.supervise_background("resealing", reseal::run(Arc::clone(&state)));
    lifecycle.supervise_background("health review", health_review::run(Arc::clone(&state)));
    lifecycle.supervise_background("reading metrics", reading_metrics::run(Arc::clone(&state)));
    let operational = router::operational(lifecycle.health().clone());
    bootstrap.serve(listener, Some(router::app(state)), operational)
}

fn build_state(
    config: Config,
    replica: Option<Db>,
    bootstrap: &Bootstrap,
    connectors: impl FnOnce(ConnectorSettings, &ConnectorDeps) -> Result<Registry, HttpError>,
) -> Result<Arc<AppState>, StartError> {
    let (db, lifecycle) = (bootstrap.db(), bootstrap.lifecycle());
    let clock = Arc::new(DatabaseClock::default());
    bootstrap.sync_clock(&clock);
    let clock: SharedClock = clock;
    let deps = connector_deps(db, Arc::clone(&clock), &config.connectors);
    let registry = connectors(config.connectors, &deps)?;
    let keyring = Arc::new(Keyring::new(&config.crypto));
    let queue: Arc<dyn JobQueue> = Arc::new(PgJobQueue::new(db.clone()));
    let feed = Feed::new(db.clone(), replica, Role::Api, Arc::clone(&keyring));
    Ok(Arc::new(AppState {
        feed_watcher: FeedWatcher::start(feed.clone(), db.clone(), lifecycle),
        limits: Limits::new(&config.limits),
        notifier: Notifier::start(Arc::clone(&queue), lifecycle),
        queue,
        feed,
        credentials: Credentials::new(
            db.clone(),
            Arc::clone(&keyring),
            clock,
            lifecycle.tasks().clone(),
        ),
        lifecycle: lifecycle.clone(),
        public_url: config.api.public_url,
        public_webhook_url: config.public_webhook_url,
        operator_tokens: config.api.operator_tokens,
        return_to: config.return_to,
        pages: Arc::new(Pages::new(config.brand)),
        poll_interval_seconds: config.poll_interval_seconds,
        approval_days: config.approval_days,
        db: db.clone(),
        webhook_keyring: config.webhook_crypto.as_ref().map(Keyring::new),
        keyring,
        registry,
    }))
}
