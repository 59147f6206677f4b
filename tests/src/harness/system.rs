//! The whole system: simulator, database, and the processes in this process or outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;

use reqwest::Client;
use serde_json::{Value, json};
use shared::config::Env;
use shared::connectors::{ConnectorDeps, ConnectorSettings, Registry};
use shared::http::HttpError;
use shared::telemetry::{Lifecycle, MetricsHandle};
use tokio::net::TcpListener;
use tokio::sync::{MappedMutexGuard, MutexGuard};
use uuid::Uuid;

use super::processes::free_address;
use super::proxy::balance;
use super::{Process, Processes, Proxy, Tenant, TestDb, Variation};
use crate::simulator::{self, Simulator};

/// The operators' token of every test system.
pub const OPERATOR_TOKEN: &str = "operator-token-for-tests-0123456789abcdef";

/// Kind and dedupe key of facts.
pub type Identities = BTreeSet<(String, String)>;

/// How a system starts.
#[derive(Debug)]
pub struct SystemBuilder {
    simulator: simulator::Config,
    env: BTreeMap<String, String>,
    workers: usize,
    outside: bool,
    pairs: bool,
    wired: bool,
    database: Option<TestDb>,
    variations: Vec<(Process, Variation)>,
}

impl SystemBuilder {
    /// Changes how the simulator starts.
    #[must_use]
    pub fn simulator(mut self, change: impl FnOnce(&mut simulator::Config)) -> Self {
        change(&mut self.simulator);
        self
    }

    /// A provider without limits, called as fast as it answers.
    ///
    /// For tests and benchmarks whose subject is not the pace: within the providers' limits a
    /// backfill takes minutes. Without this call the processes run at their default settings
    /// against the limits that the simulator enforces, as they do in production.
    #[must_use]
    pub fn fast_provider(mut self) -> Self {
        self.simulator.enforces_limits = false;
        for (name, value) in [
            ("POBLYSH_GITHUB_REQUESTS_PER_SECOND", "500"),
            ("POBLYSH_GITHUB_BURST", "1000"),
            ("POBLYSH_SLACK_RATE_FACTOR", "10000"),
            ("POBLYSH_JIRA_POINTS_PER_SECOND", "1000000"),
            ("POBLYSH_JIRA_SITE_POINTS_PER_SECOND", "1000000"),
            ("POBLYSH_JIRA_REQUESTS_PER_SECOND", "1000"),
            ("POBLYSH_JIRA_BURST", "1000000"),
        ] {
            self.env
                .entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
        self
    }

    /// Sets a variable of the processes.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// How many workers run.
    #[must_use]
    pub const fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// As processes of their own, which can be killed.
    #[must_use]
    pub const fn outside(mut self) -> Self {
        self.outside = true;
        self
    }

    /// As processes of their own, two of the API and two of the ingress behind a balancer.
    #[must_use]
    pub const fn pairs(mut self) -> Self {
        (self.outside, self.pairs) = (true, true);
        self
    }

    /// Reaches Postgres through a wire that can be cut.
    #[must_use]
    pub const fn wired(mut self) -> Self {
        self.wired = true;
        self
    }

    /// Lives in this database instead of one of its own.
    #[must_use]
    pub fn database(mut self, database: TestDb) -> Self {
        self.database = Some(database);
        self
    }

    /// Starts all processes of a kind with this difference; they run outside then.
    #[must_use]
    pub fn vary(mut self, process: Process, variation: Variation) -> Self {
        self.outside = true;
        self.variations.push((process, variation));
        self
    }

    /// Starts everything.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub async fn start(mut self) -> System {
        let db = match self.database.take() {
            Some(database) => database,
            None => TestDb::create().await,
        };
        let wire = Proxy::start(db.url()).await;
        let url = if self.wired {
            wire.through(db.url())
        } else {
            db.url().to_owned()
        };
        let (api, ingress) = (free_address(), free_address());
        self.simulator.webhook_url = Some(format!("http://{ingress}"));
        self.simulator.api_url = format!("http://{api}");
        let simulator = simulator::start(self.simulator)
            .await
            .expect("the simulator starts");
        let mut env: BTreeMap<String, String> = simulator.env().into_iter().collect();
        for (name, value) in [
            ("POBLYSH_DATABASE_URL", url),
            (
                "POBLYSH_CRYPTO_KEY",
                "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=".to_owned(),
            ),
            (
                "POBLYSH_INGRESS_CRYPTO_KEY",
                "IB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=".to_owned(),
            ),
            ("POBLYSH_OPERATOR_TOKEN", OPERATOR_TOKEN.to_owned()),
            ("POBLYSH_PUBLIC_API_URL", format!("http://{api}")),
            ("POBLYSH_PUBLIC_WEBHOOK_URL", format!("http://{ingress}")),
            ("POBLYSH_LOG", "warn".to_owned()),
        ] {
            env.entry(name.to_owned()).or_insert(value);
        }
        env.extend(self.env);
        let system = System {
            simulator,
            db,
            wire,
            api: format!("http://{api}"),
            ingress: format!("http://{ingress}"),
            client: Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client"),
            env,
            lives: Mutex::new(Vec::new()),
            processes: tokio::sync::Mutex::new(None),
        };
        if self.outside {
            let (apis, ingresses) = if self.pairs {
                let (apis, ingresses) = (two(), two());
                balance(api, apis.clone()).await;
                balance(ingress, ingresses.clone()).await;
                (apis, ingresses)
            } else {
                (vec![api], vec![ingress])
            };
            system
                .start_outside(&apis, &ingresses, self.workers, &self.variations)
                .await;
        } else {
            system.start_inside(api, ingress, self.workers).await;
        }
        system
    }
}

/// A running system.
pub struct System {
    /// The provider.
    pub simulator: Simulator,
    /// The database, as its owner sees it.
    pub db: TestDb,
    /// The wire to Postgres; in use when the system was built `wired`.
    pub wire: Proxy,
    /// `http://host:port` of the api-server.
    pub api: String,
    /// `http://host:port` of the webhook-ingress.
    pub ingress: String,
    /// A client that follows no redirects.
    pub client: Client,
    /// The processes' environment.
    pub env: BTreeMap<String, String>,
    lives: Mutex<Vec<Lifecycle>>,
    processes: tokio::sync::Mutex<Option<Processes>>,
}

impl System {
    /// A system whose subject is not the pace; see [`SystemBuilder::fast_provider`].
    pub fn with_fast_provider() -> SystemBuilder {
        Self::builder().fast_provider()
    }

    /// A system with one worker, default settings and the providers' own limits.
    pub fn builder() -> SystemBuilder {
        SystemBuilder {
            simulator: simulator::Config {
                seed: Some(1),
                ..simulator::Config::default()
            },
            env: BTreeMap::new(),
            workers: 1,
            outside: false,
            pairs: false,
            wired: false,
            database: None,
            variations: Vec::new(),
        }
    }

    /// The processes, when they run outside.
    ///
    /// # Panics
    ///
    /// When they do not.
    pub async fn processes(&self) -> MappedMutexGuard<'_, Processes> {
        MutexGuard::map(self.processes.lock().await, |processes| {
            processes.as_mut().expect("started with `outside`")
        })
    }

    async fn start_inside(&self, api: SocketAddr, ingress: SocketAddr, workers: usize) {
        let env = Env::from_pairs(self.env.clone());
        let metrics = MetricsHandle::global().expect("a recorder");
        let listener = TcpListener::bind(api).await.expect("the port is free");
        let config = api_server::Config::from_env(&env).expect("the API's settings");
        let server = api_server::serve(config, metrics.clone(), listener)
            .await
            .expect("the API starts");
        let listener = TcpListener::bind(ingress).await.expect("the port is free");
        let config = webhook_ingress::Config::from_env(&env).expect("the ingress's settings");
        let taking = webhook_ingress::start(config, listener, metrics).expect("the ingress starts");
        self.lives
            .lock()
            .expect("unpoisoned")
            .extend([server.lifecycle().clone(), taking]);
        for _ in 0..workers {
            self.start_worker().await;
        }
    }

    /// Starts one more worker in this process.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_worker(&self) {
        self.start_worker_with(Registry::new).await;
    }

    /// Starts one more worker in this process, with connectors of the test.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_worker_with(
        &self,
        connectors: impl FnOnce(ConnectorSettings, &ConnectorDeps) -> Result<Registry, HttpError>,
    ) {
        let env = Env::from_pairs(self.env.clone());
        let metrics = MetricsHandle::global().expect("a recorder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let config = sync_worker::Config::from_env(&env).expect("the worker's settings");
        let life = sync_worker::start_with(config, listener, metrics, connectors)
            .expect("the worker starts");
        self.lives.lock().expect("unpoisoned").push(life);
    }

    async fn start_outside(
        &self,
        apis: &[SocketAddr],
        ingresses: &[SocketAddr],
        workers: usize,
        variations: &[(Process, Variation)],
    ) {
        let env = self.env.clone().into_iter().collect();
        let mut processes = Processes::new(env);
        let workers: Vec<SocketAddr> = (0..workers).map(|_| free_address()).collect();
        for (process, addresses) in [
            (Process::Api, apis),
            (Process::Ingress, ingresses),
            (Process::Worker, workers.as_slice()),
        ] {
            let own = variations.iter().find(|(of, _)| *of == process);
            let variation = own.map_or_else(Variation::default, |(_, own)| own.clone());
            for address in addresses {
                processes.start_as(process, *address, &variation).await;
            }
        }
        *self.processes.lock().await = Some(processes);
    }

    /// Makes a tenant with a key that may do everything.
    ///
    /// # Panics
    ///
    /// When the API does not.
    pub async fn tenant(&self, name: &str) -> Tenant<'_> {
        let tenant = self.operator("/v1/tenants", &json!({ "name": name })).await;
        let id: Uuid = tenant["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a uuid");
        let key = self
            .operator(
                &format!("/v1/tenants/{id}/api-keys"),
                &json!({ "name": "tests" }),
            )
            .await;
        Tenant::new(self, id, key["key"].as_str().expect("a key").to_owned())
    }

    /// A tenant that has connected the provider's first account, whose past has been read: the
    /// account, the tenant and the connection.
    ///
    /// # Panics
    ///
    /// When the account cannot be connected, or its past is not read in time.
    pub async fn connected(&self, provider: &str) -> (String, Tenant<'_>, Uuid) {
        let (account, admin) = self.accounts_at(provider).await.remove(0);
        let tenant = self.tenant("Acme").await;
        let connection = tenant.connect_to(provider, &account, &admin).await;
        self.drain().await;
        (account, tenant, connection)
    }

    async fn operator(&self, path: &str, body: &Value) -> Value {
        let answer = self
            .client
            .post(format!("{}{path}", self.api))
            .bearer_auth(OPERATOR_TOKEN)
            .json(body)
            .send()
            .await
            .expect("the API answers");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// A counter's value in the metrics of the process at this URL, over all of its labels that
    /// contain `label`.
    ///
    /// # Panics
    ///
    /// When the process does not answer.
    pub async fn metric(&self, process: &str, name: &str, label: &str) -> f64 {
        let answer = self.client.get(format!("{process}/metrics")).send().await;
        let text = answer.expect("an answer").text().await.expect("a body");
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Posts to the simulator's control API.
    ///
    /// # Panics
    ///
    /// When it refuses.
    pub async fn sim(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let answer = self
            .client
            .post(url)
            .json(&body)
            .send()
            .await
            .expect("the simulator answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path} {body}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// The simulated GitHub accounts, with a person who administers each.
    pub async fn accounts(&self) -> Vec<(String, String)> {
        self.accounts_at("github").await
    }

    /// A provider's simulated accounts, as the ledger names them, with a person who
    /// administers each.
    ///
    /// # Panics
    ///
    /// When the simulator does not answer.
    pub async fn accounts_at(&self, provider: &str) -> Vec<(String, String)> {
        self.list_accounts(provider)
            .await
            .iter()
            .map(|account| {
                let text = |name: &str| account[name].as_str().expect("a login").to_owned();
                (text("login"), text("admin"))
            })
            .collect()
    }

    /// One of a provider's simulated accounts, with everything that is known of it.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub async fn account_of(&self, provider: &str, number: usize) -> Value {
        self.list_accounts(provider).await.swap_remove(number)
    }

    async fn list_accounts(&self, provider: &str) -> Vec<Value> {
        let url = format!("{}/_sim/{provider}/accounts", self.simulator.base_url());
        let answer: Value = self
            .client
            .get(url)
            .send()
            .await
            .expect("the simulator answers")
            .json()
            .await
            .expect("JSON");
        answer["accounts"].as_array().cloned().unwrap_or_default()
    }
}

fn two() -> Vec<SocketAddr> {
    vec![free_address(), free_address()]
}

impl Drop for System {
    fn drop(&mut self) {
        for life in self.lives.get_mut().expect("unpoisoned").drain(..) {
            life.soft().cancel();
            life.hard().cancel();
        }
    }
}
