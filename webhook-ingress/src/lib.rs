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
use shared::config::{
    ConfigError, CryptoConfig, DatabaseConfig, Env, IngressConfig, Process, Reader,
};
use shared::connectors::WebhookRegistry;
use shared::crypto::Keyring;
use shared::db::{Db, DbError, Role, time};
use shared::inbox::{Backlog, ConnectionKeys, Inbox, InboxConfig, Quotas};
use shared::queue::Waker;
use shared::server::{HttpServer, listen_for_telemetry};
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
    /// The key of connections' webhook secrets.
    pub crypto: Option<CryptoConfig>,
    /// What deliveries are verified with.
    pub webhooks: WebhookRegistry,
    clock: Arc<DatabaseClock>,
}

impl Config {
    /// Reads the environment; every problem is named at once.
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

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database URL cannot be used.
    #[error("the database cannot be used")]
    Database(#[from] DbError),
    /// The address for health and metrics cannot be listened on.
    #[error("failed to listen on POBLYSH_INGRESS_TELEMETRY_BIND_ADDR")]
    Telemetry(#[source] std::io::Error),
}

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct State {
    webhooks: Arc<WebhookRegistry>,
    keys: Arc<ConnectionKeys>,
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
    let clock = config.clock;
    life.supervise_background(
        "database clock",
        time::follow(db.clone(), Arc::clone(&clock)),
    );
    let keyring = config.crypto.as_ref().map(Keyring::new);
    let waker = Waker::start(db.clone(), &life);
    let quotas = Quotas {
        backlog: config.ingress.backlog_bytes,
        tenant_backlog: config.ingress.tenant_backlog_bytes,
        unmatched_account: config.ingress.unmatched_account_bytes,
        unmatched: config.ingress.unmatched_bytes,
    };
    let backlog = Backlog::start(db.clone(), quotas, &life);
    let inbox = Inbox::start(&db, &waker, backlog, InboxConfig::default(), &life);
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
    let operational = tracked(operational.method_not_allowed_fallback(receive::method_not_allowed));
    let router = match telemetry.map_err(StartError::Telemetry)? {
        Some(listener) => {
            let server = HttpServer::plain(operational).serve(listener, life.clone());
            life.supervise("telemetry server", server);
            tracked(router(state))
        }
        None => tracked(router(state)).merge(operational),
    };
    let (proxies, url) = (
        config.ingress.trusted_proxies,
        config.ingress.public_webhook_url,
    );
    let server = HttpServer::behind(router, proxies, &url).serve(listener, life.clone());
    life.supervise("http server", server);
    Ok(life)
}

fn tracked(router: Router) -> Router {
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
