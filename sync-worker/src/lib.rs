//! `sync-worker`: turns deliveries and pages into Signals.
//!
//! Any number of workers run side by side; none is elected. Each claims jobs under a lease,
//! runs the scheduler's steps (which hand each due thing to one worker), and puts back what
//! dead workers held.

mod access;
mod changes;
mod context;
mod heart;
mod jobs;
mod lanes;
mod resource_ids;
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
use shared::ids::WorkerId;
use shared::queue::{PgJobQueue, listen};
use shared::ratelimit::Governor;
use shared::server::HttpServer;
use shared::telemetry::{
    Health, HttpTracking, Lifecycle, MetricsHandle, operational_routes, track_http,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::heart::{Leases, Pulse};

/// Everything the process is told.
#[derive(Debug)]
pub struct Config {
    /// Concurrency, intervals, retention.
    pub worker: WorkerConfig,
    /// Postgres.
    pub database: DatabaseConfig,
    /// Keys that open tokens.
    pub crypto: CryptoConfig,
    /// Providers.
    pub connectors: ConnectorSettings,
}

impl Config {
    /// Reads the environment; every problem is named at once.
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

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database URL cannot be used.
    #[error("the database cannot be used")]
    Database(#[from] DbError),
    /// A connector cannot be built.
    #[error("a connector cannot be built")]
    Connector(#[from] HttpError),
}

/// Starts the worker; health and metrics are served on `listener`. The returned life ends
/// it: leases are given back when everything in flight has ended.
pub fn start(
    config: Config,
    listener: TcpListener,
    metrics: MetricsHandle,
) -> Result<Lifecycle, StartError> {
    start_with(config, listener, metrics, Registry::new)
}

/// Like [`start`], with connectors that the caller builds from the settings.
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
    let life = Lifecycle::new(health.clone());
    let listening = db.open_listening(&config.database, Role::Worker)?;
    let context = Arc::new(context(config, db, &life, connectors)?);
    let router = operational_routes(health).layer(axum::middleware::from_fn_with_state(
        HttpTracking::new("sync-worker"),
        track_http,
    ));
    let server = HttpServer::plain(router).serve(listener, life.clone());
    life.supervise("http server", server);
    let (wake, woken) = watch::channel(());
    if let Some(db) = listening {
        life.supervise_background("job listener", listen(db, wake));
    }
    work(&context, woken, &life);
    Ok(life)
}

fn context(
    config: Config,
    db: Db,
    life: &Lifecycle,
    connectors: impl FnOnce(ConnectorSettings, &ConnectorDeps) -> Result<Registry, HttpError>,
) -> Result<Context, StartError> {
    let clock = Arc::new(DatabaseClock::default());
    let gate = Arc::new(Governor::new(
        db.clone(),
        clock.clone(),
        config.connectors.limits(),
    ));
    let deps = ConnectorDeps {
        clock: clock.clone(),
        gate,
    };
    let registry = connectors(config.connectors, &deps)?;
    let keyring = Arc::new(Keyring::new(&config.crypto));
    Ok(Context {
        worker: WorkerId::generate(),
        credentials: Credentials::new(db.clone(), keyring, clock.clone(), life.tasks().clone()),
        registry: Arc::new(registry),
        queue: Arc::new(PgJobQueue::new(db.clone())),
        clock: clock.clone(),
        database_clock: clock,
        pulse: Pulse::default(),
        leases: Leases::default(),
        rested: CancellationToken::new(),
        config: config.worker,
        db,
    })
}

/// Starts what the worker cannot do without.
fn work(context: &Arc<Context>, woken: watch::Receiver<()>, life: &Lifecycle) {
    let heartbeat = heart::run(Arc::clone(context), life.clone());
    life.supervise("heartbeat", heartbeat);
    let lanes = lanes::run(Arc::clone(context), woken, life.clone());
    life.supervise("lanes", lanes);
    let scheduler = scheduler::run(Arc::clone(context), life.clone());
    life.supervise("scheduler", scheduler);
}
