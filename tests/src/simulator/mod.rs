//! The provider simulator: a real HTTP server that behaves like the providers.
//!
//! Promises the providers' paths, statuses, headers, pagination, tokens and
//! signatures; a world in which things happen on command or by themselves; the
//! deliveries that follow; faults on command; and a ledger of what really
//! happened. It shares no code with the connectors. The control API under
//! `/_sim/` is described in `tests/README.md`.
//!
//! `clock`, `control`, `faults`, `ledger` and `stats` know no provider; each
//! provider is one folder beside them.

mod clock;
mod control;
mod faults;
mod github;
mod jira;
mod ledger;
mod outbox;
mod server;
mod slack;
mod stats;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use rand::RngExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use faults::{Effect, Rule, Target};
pub use github::{KeyError, Settings};
pub use jira::Settings as JiraSettings;
pub use ledger::{Entry, Filter};
pub use slack::Settings as SlackSettings;

/// How a simulator starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Base of the webhook receiver; deliveries go to `{url}/webhooks/{provider}`.
    /// Without it, no deliveries are generated.
    pub webhook_url: Option<String>,
    /// Base of the API; apps have registered `{url}/v1/connect/{provider}/callback`.
    pub api_url: String,
    /// Seed of the world, the secrets and the faults; random when absent.
    pub seed: Option<u64>,
    /// Accounts that exist from the start.
    pub accounts: usize,
    /// Repositories in each of them.
    pub repositories: usize,
    /// Facts in each repository that happened before the start, spread over the
    /// last 30 days.
    pub history: usize,
    /// Facts per second that happen by themselves, over all providers.
    pub rate: f64,
    /// Request user authorization during installation.
    pub oauth_on_install: bool,
    /// Requests per hour and installation.
    pub rate_limit: u32,
    /// Deliveries in flight at most.
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
            history: 0,
            rate: 0.0,
            oauth_on_install: false,
            rate_limit: 5_000,
            delivery_concurrency: 64,
        }
    }
}

impl Config {
    /// Where a provider's app sends browsers back to.
    pub(crate) fn callback_url(&self, provider: &str) -> String {
        let base = self.api_url.trim_end_matches('/');
        format!("{base}/v1/connect/{provider}/callback")
    }

    /// Where a provider's deliveries go; empty when there are none.
    pub(crate) fn delivery_url(&self, provider: &str) -> String {
        self.webhook_url
            .as_ref()
            .map(|base| format!("{}/webhooks/{provider}", base.trim_end_matches('/')))
            .unwrap_or_default()
    }
}

/// What all providers share.
pub(crate) struct Core {
    pub(crate) clock: clock::Clock,
    pub(crate) ledger: ledger::Ledger,
    pub(crate) faults: faults::Faults,
    pub(crate) stats: stats::Stats,
}

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("the simulator cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// No key for the app.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No client for deliveries.
    #[error("the client for deliveries cannot be built")]
    Client(#[from] reqwest::Error),
}

/// A running simulator; stops when dropped.
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

/// Starts a simulator and answers when it accepts requests.
pub async fn start(config: Config) -> Result<Simulator, StartError> {
    let listener = TcpListener::bind(config.bind)
        .await
        .map_err(|error| StartError::Listen(config.bind, error))?;
    let address = listener
        .local_addr()
        .map_err(|error| StartError::Listen(config.bind, error))?;
    let seed = config.seed.unwrap_or_else(|| rand::rng().random());
    let core = Arc::new(Core {
        clock: clock::Clock::default(),
        ledger: ledger::Ledger::default(),
        faults: faults::Faults::new(seed),
        stats: stats::Stats::default(),
    });
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
    let routes = control::router(Arc::clone(&core), Arc::clone(&providers))
        .merge(slack::router(&slack))
        .merge(jira::router(&jira))
        .merge(github::router(&github));
    tasks.spawn(server::serve(listener, routes, stop.clone()));
    if config.rate > 0.0 {
        let each = config.rate / 3.0;
        tasks.spawn(github::live(Arc::clone(&github), each, stop.clone()));
        tasks.spawn(slack::live(Arc::clone(&slack), each, stop.clone()));
        tasks.spawn(jira::live(Arc::clone(&jira), each, stop.clone()));
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
    /// `http://host:port`, base of the control API and of web pages.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The seed in use; the same seed makes the same world.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Settings that a process needs to reach this simulator, by variable name.
    pub fn env(&self) -> Vec<(String, String)> {
        self.providers
            .iter()
            .flat_map(|provider| provider.env())
            .collect()
    }

    /// Replaces settings of the GitHub app, such as the webhook or callback URL.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.github.change_settings(change);
    }

    /// Replaces settings of the Slack app and of Slack itself.
    pub fn change_slack(&self, change: impl FnOnce(&mut SlackSettings)) {
        self.slack.change_settings(change);
    }

    /// Replaces settings of the Atlassian app and of Jira itself.
    pub fn change_jira(&self, change: impl FnOnce(&mut JiraSettings)) {
        self.jira.change_settings(change);
    }

    /// Rows of the ledger, as `GET /_sim/ledger` answers them.
    pub fn ledger(&self, filter: &Filter) -> Vec<Entry> {
        let visible = self
            .providers
            .iter()
            .flat_map(|provider| provider.visible())
            .collect();
        self.core.ledger.query(filter, &visible)
    }

    /// Adds a fault rule and answers its number.
    pub fn add_fault(&self, rule: Rule) -> u64 {
        self.core.faults.add(rule)
    }

    /// Stops listening, ends open connections and waits for both.
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
