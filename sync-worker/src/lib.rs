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
mod periodic_events;
mod provider_session;
mod resource_ids;
mod runner;
mod scheduler;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use shared::clock::{DatabaseClock, SharedClock};
use shared::config::{
    ConfigError, CryptoConfig, Env, Process, Reader, ServiceConfig, WorkerConfig,
};
use shared::connectors::{ConnectorDeps, ConnectorSettings, Registry};
use shared::credentials::Credentials;
use shared::crypto::Keyring;
use shared::db::{Db, Role};
use shared::http::HttpError;
use shared::model::WorkerId;
use shared::queue::{JobQueue, PgJobQueue};
use shared::ratelimit::connector_deps;
use shared::service::{Bootstrap, Lifecycle, Service, StartError, operational_routes};
use shared::telemetry::{HttpTracking, MetricsHandle, track_http};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::leases::{LeaseClock, Leases};

/// The settings of the process.
#[derive(Debug)]
pub struct Config {
    /// Address and Postgres.
    pub service: ServiceConfig,
    /// Concurrency, intervals, retention.
    pub worker: WorkerConfig,
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
            service: ServiceConfig::for_process(&mut reader, Process::Worker),
            worker: WorkerConfig::from_reader(&mut reader),
            crypto: CryptoConfig::from_reader(&mut reader),
            connectors: ConnectorSettings::from_reader(&mut reader),
        };
        reader.finish()?;
        Ok(config)
    }
}

impl AsRef<ServiceConfig> for Config {
    fn as_ref(&self) -> &ServiceConfig {
        &self.service
    }
}

/// Starts the worker; `listener` serves health checks and metrics.
///
/// When it shuts down, jobs drain, then their leases are released.
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
    let bootstrap = Bootstrap::start(config.service.clone(), metrics).await?;
    let (db, lifecycle) = (bootstrap.db(), bootstrap.lifecycle());
    let listening = db.open_listening(&config.service.database, Role::Worker)?;
    let queue = Arc::new(PgJobQueue::new(db.clone()).listening(listening));
    let context = context(config, db.clone(), queue, lifecycle, connectors)?;
    spawn_tasks(&Arc::new(context), lifecycle);
    let tracking = HttpTracking::new(Process::Worker.name());
    let operational = operational_routes(lifecycle.health().clone())
        .layer(from_fn_with_state(tracking, track_http));
    bootstrap.serve(listener, None, operational)
}

fn context(
    config: Config,
    db: Db,
    queue: Arc<dyn JobQueue>,
    lifecycle: &Lifecycle,
    connectors: impl FnOnce(ConnectorSettings, &ConnectorDeps) -> Result<Registry, HttpError>,
) -> Result<Context, StartError> {
    let database_clock = Arc::new(DatabaseClock::default());
    let clock: SharedClock = database_clock.clone();
    let deps = connector_deps(&db, Arc::clone(&clock), &config.connectors);
    let registry = connectors(config.connectors, &deps)?;
    let keyring = Arc::new(Keyring::new(&config.crypto));
    Ok(Context {
        worker: WorkerId::generate(),
        credentials: Credentials::new(
            db.clone(),
            keyring,
            Arc::clone(&clock),
            lifecycle.tasks().clone(),
        ),
        registry: Arc::new(registry),
        queue,
        clock,
        database_clock,
        lease_clock: LeaseClock::default(),
        leases: Leases::default(),
        drained: CancellationToken::new(),
        config: config.worker,
        db,
    })
}

/// Starts the supervised tasks: job listener, heartbeat, runner and scheduler.
fn spawn_tasks(context: &Arc<Context>, lifecycle: &Lifecycle) {
    let (notify, notified) = watch::channel(());
    let queue = Arc::clone(&context.queue);
    lifecycle.supervise_background("job listener", async move { queue.listen(notify).await });
    let heartbeat = heartbeat::run(Arc::clone(context), lifecycle.clone());
    lifecycle.supervise("heartbeat", heartbeat);
    let runner = runner::run(Arc::clone(context), notified, lifecycle.clone());
    lifecycle.supervise("runner", runner);
    let scheduler = scheduler::run(Arc::clone(context), lifecycle.clone());
    lifecycle.supervise("scheduler", scheduler);
}
