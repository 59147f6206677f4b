//! Provider simulator: an HTTP server that behaves like the providers.
//!
//! It reproduces the providers' paths, statuses, headers, pagination, tokens and signatures.
//! Its world changes on command or at a configured rate, and each change sends the provider's
//! deliveries. It injects faults, and a ledger records every fact that happened. It shares no
//! code with the connectors. `tests/README.md` describes the control API under `/_sim/`.
//!
//! Each provider is one folder and one line of the registry in `provider.rs`; all other modules
//! do not depend on a provider. Providers of one vendor may share a family, such as [`google`]
//! and [`zoho`], which the registry names as well.

mod action;
mod clock;
mod control;
mod faults;
mod forgery;
mod generate;
pub mod github;
pub mod google;
pub mod jira;
mod ledger;
mod lock;
mod oauth;
mod provider;
mod provider_control;
mod requests;
mod rsa_key;
mod server;
pub mod slack;
mod stats;
#[cfg(test)]
mod tests;
mod unfinished;
mod usage;
mod webhook_sender;
mod wire;
pub mod zoho;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use rand::RngExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use google::calendar as google_calendar;
pub use google::drive as google_drive;
pub use google::gmail;
pub use zoho::cliq as zoho_cliq;
pub use zoho::mail as zoho_mail;

pub use faults::{Effect, Rule, Target};
pub use ledger::{Entry, Filter};
pub use provider::ProviderOptions;
pub use usage::{LimitUsage, Usage};

use provider::{Family, Provider, Providers};

/// Options of a simulator.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 selects a free port.
    pub bind: SocketAddr,
    /// Base URL of the webhook receiver, or `None` to generate no deliveries.
    ///
    /// Deliveries go to `{url}/webhooks/{provider}`.
    pub webhook_url: Option<String>,
    /// Base URL of the API; the apps' callback URL is `{url}/v1/connect/{provider}/callback`.
    pub api_url: String,
    /// Seed of the world, the secrets and the faults; random by default.
    pub seed: Option<u64>,
    /// Accounts that exist from the start.
    pub accounts: usize,
    /// People per account, not counting its administrator.
    pub people: usize,
    /// Facts per container (such as a repository) before the start, within the last 30 days.
    pub history: usize,
    /// Facts generated per second over all providers.
    pub rate: f64,
    /// Enforce the providers' rate limits.
    pub enforces_limits: bool,
    /// Maximum number of deliveries in flight.
    pub delivery_concurrency: usize,
    /// Options of each provider.
    pub providers: ProviderOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            webhook_url: None,
            api_url: "http://127.0.0.1:8080".to_owned(),
            seed: None,
            accounts: 2,
            people: 4,
            history: 0,
            rate: 0.0,
            enforces_limits: true,
            delivery_concurrency: 64,
            providers: ProviderOptions::default(),
        }
    }
}

impl Config {
    /// Size of an account with this many containers.
    pub(crate) const fn size(&self, containers: usize) -> generate::AccountSize {
        generate::AccountSize {
            containers,
            people: self.people,
        }
    }

    /// Callback URL that a provider's app has registered.
    pub(crate) fn callback_url(&self, provider: &str) -> String {
        let base = self.api_url.trim_end_matches('/');
        format!("{base}/v1/connect/{provider}/callback")
    }

    /// URL of a provider's deliveries; empty if none are sent.
    pub(crate) fn delivery_url(&self, provider: &str) -> String {
        self.webhook_url
            .as_ref()
            .map(|base| format!("{}/webhooks/{provider}", base.trim_end_matches('/')))
            .unwrap_or_default()
    }
}

/// State that all providers share.
pub(crate) struct Core {
    pub(crate) clock: clock::Clock,
    pub(crate) ledger: ledger::Ledger,
    pub(crate) faults: faults::Faults,
    pub(crate) requests: requests::Recording,
    pub(crate) stats: stats::Stats,
    pub(crate) usage: usage::Accounting,
}

impl Core {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            clock: clock::Clock::default(),
            ledger: ledger::Ledger::default(),
            faults: faults::Faults::new(seed),
            requests: requests::Recording::default(),
            stats: stats::Stats::default(),
            usage: usage::Accounting::default(),
        })
    }
}

/// Error at the start of a simulator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is in use or does not belong to this host.
    #[error("failed to listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// An app's RSA key could not be generated.
    #[error("failed to generate an app's RSA key")]
    Key,
    /// The HTTP client for deliveries could not be built.
    #[error("failed to build the HTTP client for deliveries")]
    Client(#[from] reqwest::Error),
}

/// Handle to a running simulator, which stops when the handle is dropped.
pub struct Simulator {
    address: SocketAddr,
    seed: u64,
    providers: Providers,
    families: Arc<[Arc<dyn Family>]>,
    all: Arc<[Arc<dyn Provider>]>,
    core: Arc<Core>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Starts a simulator and returns once it accepts connections.
pub async fn start(config: Config) -> Result<Simulator, StartError> {
    let listener = TcpListener::bind(config.bind)
        .await
        .map_err(|error| StartError::Listen(config.bind, error))?;
    let address = listener
        .local_addr()
        .map_err(|error| StartError::Listen(config.bind, error))?;
    let seed = config.seed.unwrap_or_else(|| rand::rng().random());
    let core = Core::new(seed);
    let base = format!("http://{address}");
    let providers = Providers::start(&config, &base, seed, &core)?;
    let (families, all) = (providers.families(), providers.all());
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let family_routes = families.iter().map(|family| Arc::clone(family).router());
    let provider_routes = all
        .iter()
        .map(|provider| Arc::clone(provider).router())
        .chain(family_routes)
        .fold(Router::new(), Router::merge)
        .layer(from_fn_with_state(Arc::clone(&core), requests::record));
    let routes = control::router(Arc::clone(&core), Arc::clone(&families), Arc::clone(&all))
        .merge(provider_routes);
    tasks.spawn(server::serve(listener, routes, stop.clone()));
    if config.rate > 0.0 {
        let rate = config.rate / f64::from(u32::try_from(all.len()).unwrap_or(u32::MAX));
        for provider in &*all {
            tasks.spawn(Arc::clone(provider).run_activity(rate, stop.clone()));
        }
    }
    tasks.close();
    Ok(Simulator {
        address,
        seed,
        providers,
        families,
        all,
        core,
        stop,
        tasks,
    })
}

impl Simulator {
    /// `http://host:port`, the base URL of the control API and of web pages.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Address of the listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Seed in use; the same seed produces the same world.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Environment variables with which a process reaches this simulator.
    pub fn env(&self) -> Vec<(String, String)> {
        control::env(&self.families, &self.all)
    }

    /// Environment variables with which a process's own limits delay no call.
    ///
    /// For processes that call a simulator without [`Config::enforces_limits`].
    pub fn unlimited_env(&self) -> Vec<(String, String)> {
        control::unlimited_env(&self.all)
    }

    /// Path of a provider's commands about tokens, below `/_sim/`.
    ///
    /// # Panics
    ///
    /// If no provider has this slug.
    pub fn token_commands(&self, slug: &str) -> String {
        let owner = Providers::token_owner(slug).expect("a provider");
        format!("{owner}/tokens")
    }

    /// The providers' slugs, in the order of the registry.
    pub fn slugs(&self) -> Vec<&'static str> {
        self.all.iter().map(|provider| provider.source()).collect()
    }

    /// Shortens the delays before retries of deliveries to less than a second.
    pub fn shorten_retry_delays(&self) {
        for family in &*self.families {
            family.shorten_retry_delays();
        }
        for provider in &*self.all {
            provider.shorten_retry_delays();
        }
    }

    /// Rows of the ledger, as `GET /_sim/ledger` returns them.
    pub fn ledger(&self, filter: &Filter) -> Vec<Entry> {
        self.core.ledger.query(filter, &control::visible(&self.all))
    }

    /// Whether a list of its provider shows a fact as it happens.
    ///
    /// Otherwise only its delivery and a second read of the past report it.
    pub fn is_listed(&self, kind: &str, dedupe_key: &str) -> bool {
        let (source, _) = dedupe_key.split_once(':').unwrap_or_default();
        self.provider(source)
            .is_none_or(|provider| provider.is_listed(kind, dedupe_key))
    }

    /// Cost of an account's requests, as `GET /_sim/stats` returns it.
    pub fn usage(&self, source: &str, account: &str) -> Usage {
        self.provider(source)
            .map_or_else(Usage::default, |provider| {
                control::usage(&self.core, provider, account)
            })
    }

    fn provider(&self, source: &str) -> Option<&dyn Provider> {
        let mut all = self.all.iter();
        let found = all.find(|provider| provider.source() == source)?;
        Some(&**found)
    }

    /// Adds a fault rule and returns its id.
    pub fn add_fault(&self, rule: Rule) -> u64 {
        self.core.faults.add(rule)
    }

    /// Closes the listener and its sockets, and waits until all tasks have ended.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
