//! The whole system: simulator, database, and the three processes, in process or as children.

mod builder;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use provider_sim::Simulator;
use reqwest::Client;
use serde_json::{Value, json};
use shared::config::Env;
use shared::connectors::{ConnectorDeps, ConnectorSettings, Registry};
use shared::http::HttpError;
use shared::service::{Lifecycle, Service};
use shared::telemetry::MetricsHandle;
use tokio::net::TcpListener;
use tokio::sync::{MappedMutexGuard, MutexGuard};
use uuid::Uuid;

pub use builder::SystemBuilder;

use super::processes::free_address;
use super::provider::DEFAULT_PROVIDER;
use super::{AddedProviders, Process, ProcessOverrides, Processes, Proxy, Tenant, TestDb};

/// Operator token of every test system.
pub const OPERATOR_TOKEN: &str = "operator-token-for-tests-0123456789abcdef";

/// Facts by kind and dedupe key.
pub type Identities = BTreeSet<(String, String)>;

/// Running system.
pub struct System {
    /// The provider simulator.
    pub simulator: Simulator,
    /// The database, with its owner's rights.
    pub db: TestDb,
    /// The proxy to Postgres, in use after [`SystemBuilder::through_proxy`].
    pub proxy: Proxy,
    /// `http://host:port` of the api-server.
    pub api: String,
    /// `http://host:port` of the webhook-ingress.
    pub ingress: String,
    /// HTTP client that follows no redirects.
    pub client: Client,
    /// The processes' environment.
    pub env: BTreeMap<String, String>,
    added: Option<Arc<dyn AddedProviders>>,
    lifecycles: Mutex<Vec<Lifecycle>>,
    processes: tokio::sync::Mutex<Option<Processes>>,
}

impl System {
    /// Builder of a system without rate limits; see [`SystemBuilder::fast_provider`].
    pub fn with_fast_provider() -> SystemBuilder {
        Self::builder().fast_provider()
    }

    /// Builder of a system with one worker, default settings and the providers' own limits.
    pub fn builder() -> SystemBuilder {
        SystemBuilder::new()
    }

    /// Returns the child processes.
    ///
    /// # Panics
    ///
    /// When the system runs in process.
    pub async fn processes(&self) -> MappedMutexGuard<'_, Processes> {
        MutexGuard::map(self.processes.lock().await, |processes| {
            processes.as_mut().expect("started with `out_of_process`")
        })
    }

    async fn start_in_process(&self, api: SocketAddr, ingress: SocketAddr, workers: usize) {
        let env = Env::from_pairs(self.env.clone());
        let metrics = MetricsHandle::global().expect("a recorder");
        let listener = TcpListener::bind(api).await.expect("the port is free");
        let mut config = api_server::Config::from_env(&env).expect("the API's settings");
        if let Some(added) = &self.added {
            added.add_connectors(&mut config.connectors);
        }
        let api = api_server::start(config, listener, metrics.clone()).await;
        let listener = TcpListener::bind(ingress).await.expect("the port is free");
        let mut config = webhook_ingress::Config::from_env(&env).expect("the ingress's settings");
        if let Some(added) = &self.added {
            added.add_verifiers(&mut config.webhooks);
        }
        let ingress = webhook_ingress::start(config, listener, metrics).await;
        self.keep(&api.expect("the API starts"));
        self.keep(&ingress.expect("the ingress starts"));
        for _ in 0..workers {
            self.start_worker().await;
        }
    }

    /// Starts another worker in this process.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_worker(&self) {
        self.start_worker_with(Registry::new).await;
    }

    /// Starts another worker in this process, with the given connectors.
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
        let mut config = sync_worker::Config::from_env(&env).expect("the worker's settings");
        if let Some(added) = &self.added {
            added.add_connectors(&mut config.connectors);
        }
        let worker = sync_worker::start_with(config, listener, metrics, connectors).await;
        self.keep(&worker.expect("the worker starts"));
    }

    /// Keeps the lifecycle of a process, which ends with the system.
    fn keep(&self, service: &Service) {
        let mut lifecycles = self.lifecycles.lock().expect("unpoisoned");
        lifecycles.push(service.lifecycle().clone());
    }

    async fn start_processes(
        &self,
        apis: &[SocketAddr],
        ingresses: &[SocketAddr],
        workers: usize,
        overrides: &[(Process, ProcessOverrides)],
    ) {
        let env = self.env.clone().into_iter().collect();
        let mut processes = Processes::new(env);
        let workers: Vec<SocketAddr> = (0..workers).map(|_| free_address()).collect();
        for (process, addresses) in [
            (Process::Api, apis),
            (Process::Ingress, ingresses),
            (Process::Worker, workers.as_slice()),
        ] {
            let own = overrides.iter().find(|(of, _)| *of == process);
            let overrides = own.map_or_else(ProcessOverrides::default, |(_, own)| own.clone());
            for address in addresses {
                processes.start_with(process, *address, &overrides).await;
            }
        }
        *self.processes.lock().await = Some(processes);
    }

    /// Creates a tenant with an API key of all scopes.
    ///
    /// # Panics
    ///
    /// When the API returns an error.
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

    /// Connects the provider's first account to a new tenant and waits for the backfill.
    ///
    /// Returns the account, the tenant and the connection.
    ///
    /// # Panics
    ///
    /// When the account cannot be connected, or the backfill does not end in time.
    pub async fn connect_account(&self, provider: &str) -> (String, Tenant<'_>, Uuid) {
        let (account, admin) = self.accounts_at(provider).await.remove(0);
        let tenant = self.tenant("Acme").await;
        let connection = tenant.connect_to(provider, &account, &admin).await;
        self.drain().await;
        (account, tenant, connection)
    }

    async fn operator(&self, path: &str, body: &Value) -> Value {
        let response = self
            .client
            .post(format!("{}{path}", self.api))
            .bearer_auth(OPERATOR_TOKEN)
            .json(body)
            .send()
            .await
            .expect("an API response");
        let status = response.status();
        let body: Value = response.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// Reads a metric of the process at this URL, summed over all series that contain `label`.
    ///
    /// # Panics
    ///
    /// When the process does not respond.
    pub async fn metric(&self, process: &str, name: &str, label: &str) -> f64 {
        let response = self.client.get(format!("{process}/metrics")).send().await;
        let text = response.expect("a response").text().await.expect("a body");
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Posts to the simulator's control API.
    ///
    /// # Panics
    ///
    /// When it returns an error.
    pub async fn sim(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let response = self
            .client
            .post(url)
            .json(&body)
            .send()
            .await
            .expect("a simulator response");
        let status = response.status();
        let text = response.text().await.expect("a body");
        assert!(status.is_success(), "{path} {body}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Lists the accounts of the default provider, each with an administrator.
    pub async fn accounts(&self) -> Vec<(String, String)> {
        self.accounts_at(DEFAULT_PROVIDER).await
    }

    /// Lists a provider's simulated accounts, each with an administrator.
    ///
    /// The names are those of the ledger.
    ///
    /// # Panics
    ///
    /// When the simulator does not respond.
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

    /// Returns one of a provider's simulated accounts as the simulator describes it.
    ///
    /// # Panics
    ///
    /// When there are fewer accounts.
    pub async fn account_of(&self, provider: &str, number: usize) -> Value {
        self.list_accounts(provider).await.swap_remove(number)
    }

    async fn list_accounts(&self, provider: &str) -> Vec<Value> {
        let url = format!("{}/_sim/{provider}/accounts", self.simulator.base_url());
        let response: Value = self
            .client
            .get(url)
            .send()
            .await
            .expect("a simulator response")
            .json()
            .await
            .expect("JSON");
        response["accounts"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        for lifecycle in self.lifecycles.get_mut().expect("unpoisoned").drain(..) {
            lifecycle.draining().cancel();
            lifecycle.aborted().cancel();
        }
    }
}
