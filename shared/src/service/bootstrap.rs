//! The parts that every process starts with, and its server.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;

use super::listen::{ListenError, listen};
use super::{Health, Lifecycle, pool_metrics};
use crate::clock::DatabaseClock;
use crate::config::{Process, ServiceConfig};
use crate::db::{Db, DbError, Role, clock_sync};
use crate::http::HttpError;
use crate::server::HttpServer;
use crate::telemetry::MetricsHandle;

/// The error of starting a process.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database's settings are invalid, or its role is not the process's own.
    #[error("failed to open the database")]
    Database(#[from] DbError),
    /// A connector cannot be built from its settings.
    #[error("failed to build a connector from its settings")]
    Connector(#[from] HttpError),
    /// The listener has no local address.
    #[error("failed to read the address of the listener")]
    Listener(#[source] std::io::Error),
    /// The separate address of health checks and metrics cannot be bound.
    #[error(transparent)]
    Telemetry(#[from] ListenError),
}

/// A starting process: its database, clock, health check and lifecycle.
#[derive(Debug)]
pub struct Bootstrap {
    config: ServiceConfig,
    telemetry: Option<TcpListener>,
    db: Db,
    lifecycle: Lifecycle,
}

/// A running process.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    lifecycle: Lifecycle,
}

impl Bootstrap {
    /// Opens the database and checks its role.
    ///
    /// A process starts without a reachable database and is not ready until it answers with the
    /// right role.
    ///
    /// # Errors
    ///
    /// When the database rejects the session, or would run it as another role, and when the
    /// separate address of health checks and metrics cannot be bound.
    pub async fn start(config: ServiceConfig, metrics: MetricsHandle) -> Result<Self, StartError> {
        let (process, telemetry_addr) = (config.process, config.telemetry_bind_addr);
        let telemetry = match telemetry_addr.zip(process.telemetry_bind_variable()) {
            Some((address, variable)) => Some(listen(address, variable).await?),
            None => None,
        };
        let role = role(process);
        let db = Db::open(&config.database, role)?;
        match db.check_role(role).await {
            Err(error) if error.is_unavailable() => {
                let error = &error as &dyn Error;
                tracing::warn!(error, "database unavailable, starting without it");
            }
            result => result?,
        }
        let checked = db.clone();
        let health = Health::new(metrics, move || {
            let db = checked.clone();
            async move { db.check_role(role).await }
        });
        let lifecycle = Lifecycle::new(health);
        let usage = pool_metrics::run(db.clone(), process.name());
        lifecycle.supervise_background("database pool metrics", usage);
        Ok(Self {
            config,
            telemetry,
            db,
            lifecycle,
        })
    }

    /// The database.
    pub const fn db(&self) -> &Db {
        &self.db
    }

    /// The lifecycle, which supervises the process's tasks.
    pub const fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// Keeps `clock` in step with Postgres's clock, for a process without a heartbeat.
    pub fn sync_clock(&self, clock: &Arc<DatabaseClock>) {
        let sync = clock_sync::run(self.db.clone(), Arc::clone(clock));
        self.lifecycle.supervise_background("database clock", sync);
    }

    /// Serves `operational` and, for a process with clients, `app`.
    ///
    /// `operational` has the [routes](super::operational_routes) of health checks and metrics. They
    /// are on `listener`, or on the separate address if there is one.
    ///
    /// # Errors
    ///
    /// When `listener` has no local address.
    pub fn serve(
        self,
        listener: TcpListener,
        app: Option<Router>,
        operational: Router,
    ) -> Result<Service, StartError> {
        let Self {
            config,
            telemetry,
            lifecycle,
            ..
        } = self;
        let address = listener.local_addr().map_err(StartError::Listener)?;
        let supervise = |name, server: HttpServer, listener| {
            lifecycle.supervise(name, server.serve(listener, lifecycle.shutdown().clone()));
        };
        let router = match (app, telemetry) {
            (None, _) => operational,
            (Some(app), None) => app.merge(operational),
            (Some(app), Some(telemetry)) => {
                supervise(
                    "telemetry server",
                    HttpServer::plain(operational),
                    telemetry,
                );
                app
            }
        };
        let server = HttpServer::behind(router, config.trusted_proxies, config.is_https);
        supervise("http server", server, listener);
        tracing::info!(server.address = %address, "serving");
        Ok(Service { address, lifecycle })
    }
}

impl Service {
    /// The address that the server listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The lifecycle: `run` waits for a signal, `shut_down` stops the process.
    pub const fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }
}

/// The database role of a process.
const fn role(process: Process) -> Role {
    match process {
        Process::Api => Role::Api,
        Process::Ingress => Role::Ingress,
        Process::Worker => Role::Worker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Reader};

    /// Settings of an ingress without a database.
    fn config() -> ServiceConfig {
        let url = ("POBLYSH_DATABASE_URL", "postgres://unused@127.0.0.1:1/none");
        let env = Env::from_pairs([url]);
        ServiceConfig::for_process(&mut Reader::new(&env), Process::Ingress)
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.expect("a free port")
    }

    #[tokio::test]
    async fn process_serves_unready_without_a_database() {
        let metrics = MetricsHandle::global().expect("a recorder");
        let bootstrap = Bootstrap::start(config(), metrics).await.expect("started");
        let service = bootstrap.serve(listener().await, None, Router::new());
        let service = service.expect("it serves");
        assert_ne!(service.address().port(), 0);
        assert!(!service.lifecycle().health().is_ready().await);
        assert!(service.lifecycle().shut_down().await, "nothing is left");
    }

    #[tokio::test]
    async fn taken_telemetry_address_is_named() {
        let taken = listener().await;
        let mut config = config();
        config.telemetry_bind_addr = Some(taken.local_addr().expect("an address"));
        let metrics = MetricsHandle::global().expect("a recorder");
        let error = Bootstrap::start(config, metrics).await.expect_err("taken");
        assert!(
            error
                .to_string()
                .contains("POBLYSH_INGRESS_TELEMETRY_BIND_ADDR"),
            "{error}"
        );
    }
}
