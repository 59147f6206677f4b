//! `webhook-ingress`: the server that receives the providers' webhook deliveries.
//!
//! A request is read whole, verified over its raw bytes, stored together with its job, and
//! acknowledged after the commit. Nothing is parsed before it is verified, and nothing is
//! acknowledged before it is durable. The worker interprets deliveries.

mod body;
mod receive;
mod results;
mod robots;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use shared::clock::{DatabaseClock, SharedClock};
use shared::config::{
    ConfigError, CryptoConfig, Env, IngressConfig, Process, Reader, ServiceConfig,
};
use shared::connectors::WebhookRegistry;
use shared::crypto::Keyring;
use shared::inbox::{Backlog, ConnectionKeys, Inbox, InboxConfig, Quotas};
use shared::queue::{JobQueue, Notifier, PgJobQueue};
use shared::service::{Bootstrap, Service, StartError, operational_routes};
use shared::telemetry::{HttpTracking, MetricsHandle, track_http};
use tokio::net::TcpListener;

use crate::body::BodyBudget;
use crate::results::Results;

/// The settings of the process.
#[derive(Debug)]
pub struct Config {
    /// Addresses and Postgres.
    pub service: ServiceConfig,
    /// Quotas.
    pub ingress: IngressConfig,
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
            service: ServiceConfig::for_process(&mut reader, Process::Ingress),
            ingress: IngressConfig::from_reader(&mut reader),
            crypto: CryptoConfig::for_webhook_secrets(&mut reader),
            webhooks: WebhookRegistry::from_reader(&mut reader, &shared),
            clock,
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

/// The state that handlers share.
#[derive(Clone)]
pub(crate) struct State {
    webhooks: Arc<WebhookRegistry>,
    keys: Arc<ConnectionKeys>,
    clock: SharedClock,
    inbox: Inbox,
    bodies: BodyBudget,
    results: Arc<Results>,
}

/// Starts the ingress on `listener`.
pub async fn start(
    config: Config,
    listener: TcpListener,
    metrics: MetricsHandle,
) -> Result<Service, StartError> {
    let bootstrap = Bootstrap::start(config.service, metrics).await?;
    bootstrap.sync_clock(&config.clock);
    let (db, lifecycle) = (bootstrap.db(), bootstrap.lifecycle());
    let queue: Arc<dyn JobQueue> = Arc::new(PgJobQueue::new(db.clone()));
    let notifier = Notifier::start(Arc::clone(&queue), lifecycle);
    let quotas = Quotas {
        backlog: config.ingress.backlog_bytes,
        tenant_backlog: config.ingress.tenant_backlog_bytes,
        unmatched_account: config.ingress.unmatched_account_bytes,
        unmatched: config.ingress.unmatched_bytes,
    };
    let backlog = Backlog::start(db.clone(), queue, quotas, lifecycle);
    let inbox = Inbox::start(db, &notifier, backlog, InboxConfig::default(), lifecycle);
    let keyring = config.crypto.as_ref().map(Keyring::new);
    config.webhooks.prepare();
    let state = State {
        webhooks: Arc::new(config.webhooks),
        keys: Arc::new(ConnectionKeys::new(db.clone(), keyring)),
        clock: config.clock,
        inbox,
        bodies: BodyBudget::default(),
        results: Results::start(db.clone(), lifecycle),
    };
    let operational = operational_routes(lifecycle.health().clone())
        .method_not_allowed_fallback(receive::method_not_allowed);
    let app = with_tracking(router(state));
    bootstrap.serve(listener, Some(app), with_tracking(operational))
}

fn with_tracking(router: Router) -> Router {
    let tracking = HttpTracking::new(Process::Ingress.name()).only_failures();
    router.layer(from_fn_with_state(tracking, track_http))
}

fn router(state: State) -> Router {
    Router::new()
        .route("/webhooks/{provider}", post(receive::by_app))
        .route(
            "/webhooks/{provider}/{connection_id}",
            post(receive::by_connection),
        )
        .route("/robots.txt", get(robots::robots))
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
            vec![database, webhook("POBLYSH_GOOGLE_WEBHOOK_SECRET")],
            vec![
                database,
                (
                    "POBLYSH_GMAIL_PUSH_ACCOUNT",
                    "push@project.iam.gserviceaccount.com",
                ),
            ],
        ] {
            let config = Config::from_env(&Env::from_pairs(pairs.clone()));
            assert!(config.is_ok(), "{pairs:?}: {config:?}");
        }
    }
}
