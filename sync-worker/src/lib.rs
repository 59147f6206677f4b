//! `sync-worker`: turns deliveries and provider pages into Signals.
//!
//! Any number of workers run at the same time, without an elected leader. Each worker claims jobs
//! under a lease, runs the scheduler, and rescues the jobs of dead workers. Postgres makes sure
//! that one worker enqueues each due job.

mod account_events;
mod attempt;
mod context;
mod failure;
mod heartbeat;
mod job_transaction;
mod jobs;
mod leases;
mod provider_session;
mod resource_ids;
mod runner;
mod scheduler;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use shared::clock::DatabaseClock;
use shared::config::{
    ConfigError, CryptoConfig, DatabaseConfig, Env, Process, Reader, WorkerConfig,
};
use shared::connectors::{ConnectorDeps, ConnectorSettings, Registry};
use shared::credentials::Credentials;
use shared::crypto::Keyring;
use shared::db::{Db, DbError, Role};
use shared::http::HttpError;
use shared::model::WorkerId;
use shared::queue::{PgJobQueue, listen};
use shared::ratelimit::PostgresRateLimiter;
use shared::server::HttpServer;
use shared::service::{Health, Lifecycle, operational_routes};
use shared::telemetry::{HttpTracking, MetricsHandle, track_http};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::leases::{LeaseClock, Leases};

/// The settings of the process.
#[derive(Debug)]
pub struct Config {
    /// Concurrency, intervals, retention.
    pub worker: WorkerConfig,
    /// Postgres.
    pub database: DatabaseConfig,
    /// Encryption keys of the stored tokens.
    pub crypto: CryptoConfig,
    /// Settings of the connectors.
    pub connectors: ConnectorSettings,
}

impl Config {
    /// Reads the environment; the error lists every problem.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let config = Self {
            worker: WorkerConfig::from_reader(&mut reader),
            database: DatabaseConfig::for_process(&mut reader, Process::Worker),
            crypto: CryptoConfig::from_reader(&mut reader),
            connectors: ConnectorSettings::from_reader(&mut reader),
        };
        reader.finish()?;
        Ok(config)
    }
}

/// The reason why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database URL is invalid.
    #[error("failed to open the database")]
    Database(#[from] DbError),
    /// A connector failed to start.
    #[error("failed to create a connector")]
    Connector(#[from] HttpError),
}

/// Starts the worker and serves health and metrics on `listener`.
///
/// The returned [`Lifecycle`] shuts it down: jobs drain, then their leases are released.
pub fn start(
    config: Config,
    listener: TcpListener,
    metrics: MetricsHandle,
) -> Result<Lifecycle, StartError> {
    start_with(config, listener, metrics, Registry::new)
}

/// Like [`start`], with connectors that the caller creates from the settings.
pub fn start_with(
    config: Config,
    listener: TcpListener,
    metrics: MetricsHandle,
    connectors: impl FnOnce(ConnectorSettings, &ConnectorDeps) -> Result<Registry, HttpError>,
) -> Result<Lifecycle, StartError> {
    let db = Db::open(&config.database, Role::Worker)?;
    let health = {
        let db = db.clone();
        Health::new(metrics, move || {
            let db = db.clone();
            async move { db.check_role(Role::Worker).await }
        })
    };
    let lifecycle = Lifecycle::new(health.clone());
    let listening = db.open_listening(&config.database, Role::Worker)?;
    let context = Arc::new(context(config, db, &lifecycle, connectors)?);
    let router = operational_routes(health).layer(axum::middleware::from_fn_with_state(
        HttpTracking::new("sync-worker"),
        track_http,
    ));
    let server = HttpServer::plain(router).serve(listener, lifecycle.clone());
    lifecycle.supervise("http server", server);
    let (notify, notified) = watch::channel(());
    if let Some(db) = listening {
        lifecycle.supervise_background("job listener", listen(db, notify));
    }
    spawn_tasks(&context, notified, &lifecycle);
    Ok(lifecycle)
}

fn context(
    config: Config,
    db: Db,
    lifecycle: &Lifecycle,
    connectors: impl FnOnce(ConnectorSettings, &ConnectorDeps) -> Result<Registry, HttpError>,
) -> Result<Context, StartError> {
    let clock = Arc::new(DatabaseClock::default());
    let rate_limiter = Arc::new(PostgresRateLimiter::new(
        db.clone(),
        clock.clone(),
        config.connectors.limits(),
    ));
    let deps = ConnectorDeps {
        clock: clock.clone(),
        rate_limiter,
    };
    let registry = connectors(config.connectors, &deps)?;
    let keyring = Arc::new(Keyring::new(&config.crypto));
    Ok(Context {
        worker: WorkerId::generate(),
        credentials: Credentials::new(
            db.clone(),
            keyring,
            clock.clone(),
            lifecycle.tasks().clone(),
        ),
        registry: Arc::new(registry),
        queue: Arc::new(PgJobQueue::new(db.clone())),
        clock: clock.clone(),
        database_clock: clock,
        lease_clock: LeaseClock::default(),
        leases: Leases::default(),
        drained: CancellationToken::new(),
        config: config.worker,
        db,
    })
}

/// Starts the supervised tasks: heartbeat, runner and scheduler.
fn spawn_tasks(context: &Arc<Context>, notified: watch::Receiver<()>, lifecycle: &Lifecycle) {
    let heartbeat = heartbeat::run(Arc::clone(context), lifecycle.clone());
    lifecycle.supervise("heartbeat", heartbeat);
    let runner = runner::run(Arc::clone(context), notified, lifecycle.clone());
    lifecycle.supervise("runner", runner);
    let scheduler = scheduler::run(Arc::clone(context), lifecycle.clone());
    lifecycle.supervise("scheduler", scheduler);
}
