//! The provider simulator: a real HTTP server that behaves like the providers.
//!
//! Promises the providers' paths, statuses, headers, pagination, tokens and
//! signatures; a world in which things happen on command or by themselves; the
//! deliveries that follow; faults on command; and a ledger of what really
//! happened. It shares no code with the connectors. The control API under
//! `/_sim/` is described in `tests/README.md`.
//!
//! `clock`, `control`, `faults`, `ledger`, `requests` and `stats` know no provider;
//! each provider is one folder beside them.

mod clock;
mod control;
mod faults;
mod forge;
mod github;
mod jira;
mod ledger;
mod outbox;
mod requests;
mod server;
mod slack;
mod stats;
#[cfg(test)]
mod tests;
mod usage;
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
    /// GitHub repositories in each of them.
    pub repositories: usize,
    /// Slack channels in each of them.
    pub channels: usize,
    /// Jira projects in each of them.
    pub projects: usize,
    /// People in each of them, beside its administrator.
    pub people: usize,
    /// Facts in each repository, channel and project that happened before the
    /// start, spread over the last 30 days.
    pub history: usize,
    /// How many of a channel's past facts are replies; the usual share when absent.
    pub replies: Option<usize>,
    /// How many of a project's past facts are new issues; the usual share when
    /// absent.
    pub issues: Option<usize>,
    /// Facts per second that happen by themselves, over all providers.
    pub rate: f64,
    /// Request user authorization during installation.
    pub oauth_on_install: bool,
    /// Keep the providers' limits; otherwise nothing is refused for its pace.
    pub enforces_limits: bool,
    /// GitHub's requests per hour and installation.
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

/// How large an account is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Repositories, channels or projects.
    pub(crate) containers: usize,
    /// People beside the administrator.
    pub(crate) people: usize,
}

/// What happened in each container of an account before the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Past {
    pub(crate) facts: usize,
    /// How many of them are replies, or new issues; the usual share when absent.
    pub(crate) counted: Option<usize>,
}

impl Past {
    /// Whether the fact with this number, from zero, belongs to `share` of them that are spread
    /// evenly, beginning with the first.
    pub(crate) const fn spreads(self, share: usize, number: usize) -> bool {
        self.facts > 0 && number * share % self.facts < share
    }
}

impl Config {
    /// How large an account with this many containers is.
    pub(crate) const fn size(&self, containers: usize) -> Size {
        Size {
            containers,
            people: self.people,
        }
    }

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
    let provided = slack::router(&slack)
        .merge(jira::router(&jira))
        .merge(github::router(&github))
        .layer(from_fn_with_state(Arc::clone(&core), requests::record));
    let routes = control::router(Arc::clone(&core), Arc::clone(&providers)).merge(provided);
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

    /// Has Slack and Jira send failed deliveries again within a second.
    pub fn retry_soon(&self) {
        self.change_slack(|slack| slack.retry_seconds = vec![0.0, 0.2, 0.5]);
        self.change_jira(|jira| jira.retry_seconds = vec![0.1, 0.3, 0.6]);
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

    /// What an account's requests have cost, as `GET /_sim/stats` answers it.
    pub fn usage(&self, source: &str, account: &str) -> Usage {
        let providers = self.providers.iter();
        let provider = providers.into_iter().find(|one| one.source() == source);
        provider.map_or_else(Usage::default, |provider| {
            control::usage(&self.core, &**provider, account)
        })
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
