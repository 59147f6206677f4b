//! Provider simulator: an HTTP server that behaves like GitHub, Slack and Jira.
//!
//! It reproduces the providers' paths, statuses, headers, pagination, tokens and signatures.
//! Its world changes on command or at a configured rate, and each change sends the provider's
//! deliveries. It injects faults, and a ledger records every fact that happened. It shares no
//! code with the connectors. `tests/README.md` describes the control API under `/_sim/`.
//!
//! Each provider is one folder; all other modules do not depend on a provider.

mod clock;
mod control;
mod faults;
mod forgery;
mod github;
mod jira;
mod ledger;
mod requests;
mod server;
mod slack;
mod stats;
#[cfg(test)]
mod tests;
mod usage;
mod webhook_sender;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use rand::RngExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use faults::{Effect, Rule, Target};
pub use github::{KeyError, Settings};
pub use jira::{AdminWebhook, Settings as JiraSettings};
pub use ledger::{Entry, Filter};
pub use slack::Settings as SlackSettings;
pub use usage::{LimitUsage, Usage};

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
    /// GitHub repositories per account.
    pub repositories: usize,
    /// Slack channels per account.
    pub channels: usize,
    /// Jira projects per account.
    pub projects: usize,
    /// People per account, not counting its administrator.
    pub people: usize,
    /// Facts per repository, channel and project before the start, within the last 30 days.
    pub history: usize,
    /// Number of replies among a channel's past facts; by default, a typical share.
    pub replies: Option<usize>,
    /// Number of new issues among a project's past facts; by default, a typical share.
    pub issues: Option<usize>,
    /// Facts generated per second over all providers.
    pub rate: f64,
    /// Request user authorization during installation.
    pub oauth_on_install: bool,
    /// Enforce the providers' rate limits.
    pub enforces_limits: bool,
    /// Requests per hour that GitHub allows an installation.
    pub rate_limit: u32,
    /// Maximum number of deliveries in flight.
    pub delivery_concurrency: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            webhook_url: None,
            api_url: "http://127.0.0.1:8080".to_owned(),
            seed: None,
            accounts: 2,
            repositories: 2,
            channels: 3,
            projects: 2,
            people: 4,
            history: 0,
            replies: None,
            issues: None,
            rate: 0.0,
            oauth_on_install: false,
            enforces_limits: true,
            rate_limit: 5_000,
            delivery_concurrency: 64,
        }
    }
}

/// Size of an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccountSize {
    /// Repositories, channels or projects.
    pub(crate) containers: usize,
    /// People, not counting the administrator.
    pub(crate) people: usize,
}

/// Number of facts in each container of an account before the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HistorySize {
    pub(crate) facts: usize,
    /// Number of replies (Slack) or new issues (Jira) among them; by default, a typical share.
    pub(crate) fixed_count: Option<usize>,
}

impl HistorySize {
    /// Whether fact number `index` (from zero) is one of `share` facts at even distances.
    pub(crate) const fn selects(self, share: usize, index: usize) -> bool {
        self.facts > 0 && index * share % self.facts < share
    }
}

impl Config {
    /// Size of an account with this many containers.
    pub(crate) const fn size(&self, containers: usize) -> AccountSize {
        AccountSize {
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
    /// The key of the GitHub App could not be generated.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The HTTP client for deliveries could not be built.
    #[error("failed to build the HTTP client for deliveries")]
    Client(#[from] reqwest::Error),
}

/// Handle to a running simulator, which stops when the handle is dropped.
pub struct Simulator {
    address: SocketAddr,
    seed: u64,
    github: Arc<github::GitHub>,
    slack: Arc<slack::Slack>,
    jira: Arc<jira::Jira>,
    providers: control::Providers,
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
    let github = github::GitHub::start(&config, &base, seed, Arc::clone(&core))?;
    let slack = slack::Slack::start(&config, &base, seed, Arc::clone(&core))?;
    let jira = jira::Jira::start(&config, &base, seed, Arc::clone(&core))?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let providers: control::Providers = Arc::new([
        Arc::clone(&github) as Arc<dyn control::Provider>,
        Arc::clone(&slack) as Arc<dyn control::Provider>,
        Arc::clone(&jira) as Arc<dyn control::Provider>,
    ]);
    let provider_routes = slack::router(&slack)
        .merge(jira::router(&jira))
        .merge(github::router(&github))
        .layer(from_fn_with_state(Arc::clone(&core), requests::record));
    let routes = control::router(Arc::clone(&core), Arc::clone(&providers)).merge(provider_routes);
    tasks.spawn(server::serve(listener, routes, stop.clone()));
    if config.rate > 0.0 {
        let rate = config.rate / 3.0;
        tasks.spawn(github::run_activity(
            Arc::clone(&github),
            rate,
            stop.clone(),
        ));
        tasks.spawn(slack::run_activity(Arc::clone(&slack), rate, stop.clone()));
        tasks.spawn(jira::run_activity(Arc::clone(&jira), rate, stop.clone()));
    }
    tasks.close();
    Ok(Simulator {
        address,
        seed,
        github,
        slack,
        jira,
        providers,
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
        self.providers
            .iter()
            .flat_map(|provider| provider.env())
            .collect()
    }

    /// Changes settings of GitHub and its app, such as the webhook or callback URL.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.github.change_settings(change);
    }

    /// Changes settings of Slack and its app.
    pub fn change_slack(&self, change: impl FnOnce(&mut SlackSettings)) {
        self.slack.change_settings(change);
    }

    /// Changes settings of Jira and the Atlassian app.
    pub fn change_jira(&self, change: impl FnOnce(&mut JiraSettings)) {
        self.jira.change_settings(change);
    }

    /// Shortens the retry delays of Slack and Jira to less than a second.
    pub fn shorten_retry_delays(&self) {
        self.change_slack(|slack| slack.retry_seconds = vec![0.0, 0.2, 0.5]);
        self.change_jira(|jira| jira.retry_seconds = vec![0.1, 0.3, 0.6]);
    }

    /// Rows of the ledger, as `GET /_sim/ledger` returns them.
    pub fn ledger(&self, filter: &Filter) -> Vec<Entry> {
        let visible = self
            .providers
            .iter()
            .flat_map(|provider| provider.visible())
            .collect();
        self.core.ledger.query(filter, &visible)
    }

    /// Cost of an account's requests, as `GET /_sim/stats` returns it.
    pub fn usage(&self, source: &str, account: &str) -> Usage {
        let mut providers = self.providers.iter();
        let provider = providers.find(|provider| provider.source() == source);
        provider.map_or_else(Usage::default, |provider| {
            control::usage(&self.core, &**provider, account)
        })
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
