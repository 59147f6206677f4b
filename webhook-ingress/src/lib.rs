//! `webhook-ingress`: the server that receives the providers' webhook deliveries.
//!
//! A request is read whole, verified over its raw bytes, stored together with its job, and
//! acknowledged after the commit. Nothing is parsed before it is verified, and nothing is
//! acknowledged before it is durable. The worker interprets deliveries.

mod body;
mod receive;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use shared::clock::{DatabaseClock, SharedClock};
use shared::config::{
    ConfigError, CryptoConfig, DatabaseConfig, Env, IngressConfig, Process, Reader,
};
use shared::connectors::WebhookRegistry;
use shared::crypto::Keyring;
use shared::db::{Db, DbError, Role, clock_sync};
use shared::inbox::{Backlog, ConnectionKeys, Inbox, InboxConfig, Quotas};
use shared::queue::Notifier;
use shared::server::{HttpServer, listen_for_telemetry};
use shared::service::{Health, Lifecycle, operational_routes};
use shared::telemetry::{HttpTracking, MetricsHandle, track_http};
use tokio::net::TcpListener;

use crate::body::BodyBudget;

/// The settings of the process.
#[derive(Debug)]
pub struct Config {
    /// Addresses, public URL and quotas.
    pub ingress: IngressConfig,
    /// Postgres.
    pub database: DatabaseConfig,
    /// The keys that seal connections' webhook secrets.
    pub crypto: Option<CryptoConfig>,
    /// The verifiers of all providers.
    pub webhooks: WebhookRegistry,
    clock: Arc<DatabaseClock>,
}

impl Config {
    /// Reads the environment and reports every problem at once.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let clock = Arc::new(DatabaseClock::default());
        let shared: SharedClock = clock.clone();
        let config = Self {
            ingress: IngressConfig::from_reader(&mut reader),
            database: DatabaseConfig::for_process(&mut reader, Process::Ingress),
            crypto: CryptoConfig::for_webhook_secrets(&mut reader),
            webhooks: WebhookRegistry::from_reader(&mut reader, &shared),
            clock,
        };
        reader.finish()?;
        Ok(config)
    }
}

/// The error of starting the process.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database URL is invalid.
    #[error("failed to open the database")]
    Database(#[from] DbError),
    /// The address of health checks and metrics cannot be bound.
    #[error("failed to listen on POBLYSH_INGRESS_TELEMETRY_BIND_ADDR")]
    Telemetry(#[source] std::io::Error),
}

/// The state that handlers share.
#[derive(Clone)]
pub(crate) struct State {
    webhooks: Arc<WebhookRegistry>,
    keys: Arc<ConnectionKeys>,
    clock: SharedClock,
    inbox: Inbox,
    bodies: BodyBudget,
}

/// Starts the process on `listener` and returns its lifecycle.
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
    let lifecycle = Lifecycle::new(health.clone());
    let clock = config.clock;
    lifecycle.supervise_background(
        "database clock",
        clock_sync::run(db.clone(), Arc::clone(&clock)),
    );
    let keyring = config.crypto.as_ref().map(Keyring::new);
    let notifier = Notifier::start(db.clone(), &lifecycle);
    let quotas = Quotas {
        backlog: config.ingress.backlog_bytes,
        tenant_backlog: config.ingress.tenant_backlog_bytes,
        unmatched_account: config.ingress.unmatched_account_bytes,
        unmatched: config.ingress.unmatched_bytes,
    };
    let backlog = Backlog::start(db.clone(), quotas, &lifecycle);
    let inbox = Inbox::start(&db, &notifier, backlog, InboxConfig::default(), &lifecycle);
    let state = State {
        webhooks: Arc::new(config.webhooks),
        keys: Arc::new(ConnectionKeys::new(db, keyring)),
        clock,
        inbox,
        bodies: BodyBudget::default(),
    };
    let telemetry = config.ingress.telemetry_bind_addr;
    let telemetry = telemetry.map(listen_for_telemetry).transpose();
    let operational = operational_routes(health);
    let operational =
        with_tracking(operational.method_not_allowed_fallback(receive::method_not_allowed));
    let router = match telemetry.map_err(StartError::Telemetry)? {
        Some(listener) => {
            let server = HttpServer::plain(operational).serve(listener, lifecycle.clone());
            lifecycle.supervise("telemetry server", server);
            with_tracking(router(state))
        }
        None => with_tracking(router(state)).merge(operational),
    };
    let (proxies, url) = (
        config.ingress.trusted_proxies,
        config.ingress.public_webhook_url,
    );
    let server = HttpServer::behind(router, proxies, &url).serve(listener, lifecycle.clone());
    lifecycle.supervise("http server", server);
    Ok(lifecycle)
}

fn with_tracking(router: Router) -> Router {
    let tracking = HttpTracking::new("webhook-ingress").only_failures();
    router.layer(from_fn_with_state(tracking, track_http))
}

fn router(state: State) -> Router {
    Router::new()
        .route("/webhooks/{provider}", post(receive::by_app))
        .route(
            "/webhooks/{provider}/{connection_id}",
            post(receive::by_connection),
        )
        .layer(DefaultBodyLimit::disable())
        .with_state(state)
        .method_not_allowed_fallback(receive::method_not_allowed)
        .fallback(receive::not_found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ingress_starts_without_keys_and_client_secrets() {
        let database = (
            "POBLYSH_DATABASE_URL",
            "postgres://poblysh_ingress@127.0.0.1/poblysh",
        );
        let webhook = |name| (name, "0123456789abcdef0123456789abcde");
        for pairs in [
            vec![database],
            vec![database, webhook("POBLYSH_GITHUB_WEBHOOK_SECRET")],
            vec![database, webhook("POBLYSH_SLACK_WEBHOOK_SECRET")],
            vec![database, webhook("POBLYSH_JIRA_CLIENT_SECRET")],
        ] {
            let config = Config::from_env(&Env::from_pairs(pairs.clone()));
            assert!(config.is_ok(), "{pairs:?}: {config:?}");
        }
    }
}
