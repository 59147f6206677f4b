//! The server: its parts and their start.

use std::net::SocketAddr;
use std::sync::Arc;

use shared::clock::{DatabaseClock, SharedClock};
use shared::connectors::{ConnectorDeps, ConnectorSettings, Registry};
use shared::credentials::Credentials;
use shared::crypto::Keyring;
use shared::db::{Db, DbError, Role, clock_sync};
use shared::http::HttpError;
use shared::queue::Notifier;
use shared::ratelimit::PostgresRateLimiter;
use shared::server::{HttpServer, listen_for_telemetry};
use shared::service::{Health, Lifecycle};
use shared::signals::Feed;
use shared::telemetry::MetricsHandle;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::feed_watcher::FeedWatcher;
use crate::limits::Limits;
use crate::reseal;
use crate::router;
use crate::state::AppState;

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    lifecycle: Lifecycle,
}

impl Server {
    /// The address that the server listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The lifecycle: `run` waits for a signal, `shut_down` stops the server.
    pub const fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }
}

/// An error at the start of the server.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database's settings are invalid, or its role bypasses row-level security.
    #[error("failed to open the database")]
    Database(#[source] DbError),
    /// A connector could not be built from its settings.
    #[error("failed to build a connector from its settings")]
    Connector(#[source] HttpError),
    /// The listener has no local address.
    #[error("failed to read the address of the listener")]
    Listener(#[source] std::io::Error),
    /// The address for health and metrics cannot be bound.
    #[error("failed to listen on POBLYSH_API_TELEMETRY_BIND_ADDR")]
    Telemetry(#[source] std::io::Error),
}

/// Serves on `listener` until the returned server is shut down.
///
/// The server starts without a reachable database and reports itself as not ready.
pub async fn serve(
    config: Config,
    metrics: MetricsHandle,
    listener: TcpListener,
) -> Result<Server, StartError> {
    serve_with(config, metrics, listener, Registry::new).await
}

/// Like [`serve`], with connectors from a function of the caller.
pub async fn serve_with(
    config: Config,
    metrics: MetricsHandle,
    listener: TcpListener,
    connectors: impl FnOnce(ConnectorSettings, &ConnectorDeps) -> Result<Registry, HttpError>,
) -> Result<Server, StartError> {
    let address = listener.local_addr().map_err(StartError::Listener)?;
    let db = Db::open(&config.database, Role::Api).map_err(StartError::Database)?;
    let replica = Db::open_replica(&config.database, Role::Api).map_err(StartError::Database)?;
    match db.check_role(Role::Api).await {
        Err(error) if error.is_unavailable() => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "database unavailable, starting without it"
            );
        }
        outcome => outcome.map_err(StartError::Database)?,
    }
    let lifecycle = Lifecycle::new(build_health(metrics, &db));
    let telemetry = config.api.telemetry_bind_addr.map(listen_for_telemetry);
    let telemetry = telemetry.transpose().map_err(StartError::Telemetry)?;
    let (proxies, url) = (
        config.api.trusted_proxies.clone(),
        config.api.public_url.clone(),
    );
    let state = build_state(config, db, replica, &lifecycle, connectors)?;
    lifecycle.supervise_background("resealing", reseal::run(Arc::clone(&state)));
    let operational = router::operational(lifecycle.health().clone());
    let app = match telemetry {
        Some(listener) => {
            let server = HttpServer::plain(operational).serve(listener, lifecycle.clone());
            lifecycle.supervise("telemetry server", server);
            router::app(state)
        }
        None => router::app(state).merge(operational),
    };
    let server = HttpServer::behind(app, proxies, &url).serve(listener, lifecycle.clone());
    lifecycle.supervise("http server", server);
    tracing::info!(server.address = %address, "serving");
    Ok(Server { address, lifecycle })
}

/// Builds the health check: ready while Postgres responds and the role is the expected one.
fn build_health(metrics: MetricsHandle, db: &Db) -> Health {
    let db = db.clone();
    let role_checked = Arc::new(OnceCell::new());
    Health::new(metrics, move || {
        let (db, role_checked) = (db.clone(), Arc::clone(&role_checked));
        async move {
            role_checked
                .get_or_try_init(|| db.check_role(Role::Api))
                .await?;
            db.ping().await
        }
    })
}

fn build_state(
    config: Config,
    db: Db,
    replica: Option<Db>,
    lifecycle: &Lifecycle,
    connectors: impl FnOnce(ConnectorSettings, &ConnectorDeps) -> Result<Registry, HttpError>,
) -> Result<Arc<AppState>, StartError> {
    let clock = Arc::new(DatabaseClock::default());
    lifecycle.supervise_background(
        "database clock",
        clock_sync::run(db.clone(), Arc::clone(&clock)),
    );
    let clock: SharedClock = clock;
    let keyring = Arc::new(Keyring::new(&config.crypto));
    let limits = config.connectors.limits();
    let deps = ConnectorDeps {
        clock: Arc::clone(&clock),
        rate_limiter: Arc::new(PostgresRateLimiter::new(
            db.clone(),
            Arc::clone(&clock),
            limits,
        )),
    };
    let registry = connectors(config.connectors, &deps).map_err(StartError::Connector)?;
    let feed = Feed::new(db.clone(), replica, Role::Api, Arc::clone(&keyring));
    Ok(Arc::new(AppState {
        feed_watcher: FeedWatcher::start(feed.clone(), db.clone(), lifecycle),
        limits: Limits::new(&config.limits),
        notifier: Notifier::start(db.clone(), lifecycle),
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
        poll_interval_seconds: config.poll_interval_seconds,
        approval_days: config.approval_days,
        db,
        webhook_keyring: config.webhook_crypto.as_ref().map(Keyring::new),
        keyring,
        registry,
    }))
}
