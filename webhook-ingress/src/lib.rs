//! `webhook-ingress`: the one port providers post to.
//!
//! A request is read whole, verified over its raw bytes, filed together with its job, and
//! acknowledged after the commit. Nothing is parsed before it is verified; nothing is
//! acknowledged before it is durable. What the delivery means is the worker's concern.

mod body;
mod receive;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use shared::clock::{DatabaseClock, SharedClock};
use shared::config::{ConfigError, DatabaseConfig, Env, IngressConfig, Process, Reader};
use shared::connectors::{ConnectorDeps, ConnectorSettings, Registry};
use shared::db::{Db, DbError, Role, time};
use shared::http::HttpError;
use shared::inbox::{Backlog, Inbox, InboxConfig};
use shared::queue::Waker;
use shared::ratelimit::Governor;
use shared::server::serve;
use shared::telemetry::{
    Health, HttpTracking, Lifecycle, MetricsHandle, operational_routes, track_http,
};
use tokio::net::TcpListener;

use crate::body::BodyBudget;

/// Everything the process is told.
#[derive(Debug)]
pub struct Config {
    /// Address and public URL.
    pub ingress: IngressConfig,
    /// Postgres.
    pub database: DatabaseConfig,
    /// Secrets to verify with.
    pub connectors: ConnectorSettings,
}

impl Config {
    /// Reads the environment; every problem is named at once.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let config = Self {
            ingress: IngressConfig::from_reader(&mut reader),
            database: DatabaseConfig::for_process(&mut reader, Process::Ingress),
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

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct State {
    registry: Arc<Registry>,
    clock: SharedClock,
    inbox: Inbox,
    bodies: BodyBudget,
}

/// Starts on `listener`. Returns once requests are being taken; the returned life ends the
/// process.
pub fn start(
    config: Config,
    listener: TcpListener,
    metrics: MetricsHandle,
) -> Result<Lifecycle, StartError> {
    let db = Db::open(&config.database, Role::Ingress)?;
    let health = {
        let db = db.clone();
        Health::new(metrics, move || {
            let db = db.clone();
            async move { db.check_role(Role::Ingress).await }
        })
    };
    let life = Lifecycle::new(health.clone());
    let clock = Arc::new(DatabaseClock::default());
    tokio::spawn(time::follow(
        db.clone(),
        Arc::clone(&clock),
        life.hard().clone(),
    ));
    let clock: SharedClock = clock;
    let gate = Arc::new(Governor::new(
        db.clone(),
        clock.clone(),
        config.connectors.limits(),
    ));
    let deps = ConnectorDeps {
        clock: clock.clone(),
        gate,
    };
    let registry = Registry::new(config.connectors, &deps)?;
    let waker = Waker::start(db.clone(), life.hard().clone());
    let most = config.ingress.backlog_bytes;
    let backlog = Backlog::start(db.clone(), most, life.hard().clone());
    let inbox = Inbox::start(&db, &waker, backlog, InboxConfig::default(), life.tasks());
    let state = State {
        registry: Arc::new(registry),
        clock,
        inbox,
        bodies: BodyBudget::default(),
    };
    life.spawn(serve(listener, router(state, health), life.clone()));
    Ok(life)
}

fn router(state: State, health: Health) -> Router {
    let tracking = HttpTracking::new("webhook-ingress").only_failures();
    Router::new()
        .route("/webhooks/{provider}", post(receive::by_app))
        .route(
            "/webhooks/{provider}/{connection_id}",
            post(receive::by_connection),
        )
        .layer(DefaultBodyLimit::disable())
        .with_state(state)
        .merge(operational_routes(health))
        .method_not_allowed_fallback(receive::method_not_allowed)
        .fallback(receive::not_found)
        .layer(from_fn_with_state(tracking, track_http))
}
