//! The server as a function.

use std::net::SocketAddr;
use std::sync::Arc;

use shared::clock::{DatabaseClock, SharedClock};
use shared::connectors::{ConnectorDeps, Registry};
use shared::credentials::Credentials;
use shared::crypto::Keyring;
use shared::db::{Db, DbError, Role, time};
use shared::http::HttpError;
use shared::queue::Waker;
use shared::ratelimit::Governor;
use shared::signals::Feed;
use shared::telemetry::{Health, Lifecycle, MetricsHandle};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::news::News;
use crate::router;
use crate::state::AppState;

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    lifecycle: Lifecycle,
}

impl Server {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its life: wait for a signal with `run`, or end it with `shut_down`.
    pub const fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database's settings cannot be used, or its role could look past the policies.
    #[error("the database cannot be used")]
    Database(#[source] DbError),
    /// A connector could not be built from its settings.
    #[error("a connector cannot be built from its settings")]
    Connector(#[source] HttpError),
    /// The listener has no address.
    #[error("the listener cannot be used")]
    Listener(#[source] std::io::Error),
}

/// Serves on `listener` until the returned server is shut down. A database that is away
/// keeps the server unready, not from starting.
pub async fn serve(
    config: Config,
    metrics: MetricsHandle,
    listener: TcpListener,
) -> Result<Server, StartError> {
    let address = listener.local_addr().map_err(StartError::Listener)?;
    let db = Db::open(&config.database, Role::Api).map_err(StartError::Database)?;
    let replica = Db::open_replica(&config.database, Role::Api).map_err(StartError::Database)?;
    match db.check_role(Role::Api).await {
        Err(error) if error.is_unavailable() => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "starting without the database"
            );
        }
        outcome => outcome.map_err(StartError::Database)?,
    }
    let lifecycle = Lifecycle::new(health(metrics, &db));
    let state = state(config, db, replica, &lifecycle)?;
    let app = router::app(state);
    lifecycle.spawn(shared::server::serve(listener, app, lifecycle.clone()));
    tracing::info!(server.address = %address, "serving");
    Ok(Server { address, lifecycle })
}

/// Ready when Postgres answers, as the role that the policies are made for.
fn health(metrics: MetricsHandle, db: &Db) -> Health {
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

fn state(
    config: Config,
    db: Db,
    replica: Option<Db>,
    lifecycle: &Lifecycle,
) -> Result<Arc<AppState>, StartError> {
    let clock = Arc::new(DatabaseClock::default());
    tokio::spawn(time::follow(
        db.clone(),
        Arc::clone(&clock),
        lifecycle.hard().clone(),
    ));
    let clock: SharedClock = clock;
    let keyring = Arc::new(Keyring::new(&config.crypto));
    let limits = config.connectors.limits();
    let deps = ConnectorDeps {
        clock: Arc::clone(&clock),
        gate: Arc::new(Governor::new(db.clone(), Arc::clone(&clock), limits)),
    };
    let registry = Registry::new(config.connectors, &deps).map_err(StartError::Connector)?;
    let feed = Feed::new(db.clone(), replica, Role::Api, Arc::clone(&keyring));
    Ok(Arc::new(AppState {
        news: News::start(feed.clone(), lifecycle),
        waker: Waker::start(db.clone(), lifecycle.hard().clone()),
        feed,
        credentials: Credentials::new(db.clone(), Arc::clone(&keyring), clock),
        lifecycle: lifecycle.clone(),
        public_url: config.api.public_url,
        public_webhook_url: config.public_webhook_url,
        operator_tokens: config.api.operator_tokens,
        return_to: config.return_to,
        poll_interval_seconds: config.poll_interval_seconds,
        db,
        keyring,
        registry,
    }))
}
