//! Builder of a test system.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures::future::LocalBoxFuture;
use provider_sim::Config;
use reqwest::Client;

use super::{OPERATOR_TOKEN, System};
use crate::harness::proxy::balance;
use crate::harness::{AddedProviders, Process, ProcessOverrides, Proxy, TestDb, free_address};

/// Builder of a test system.
#[derive(Debug)]
pub struct SystemBuilder {
    simulator: Config,
    env: BTreeMap<String, String>,
    workers: usize,
    out_of_process: bool,
    load_balanced: bool,
    through_proxy: bool,
    database: Option<TestDb>,
    overrides: Vec<(Process, ProcessOverrides)>,
    added: Option<Arc<dyn AddedProviders>>,
}

impl SystemBuilder {
    /// Creates a builder with one worker, default settings and the providers' own limits.
    pub(super) fn new() -> Self {
        Self {
            simulator: Config {
                seed: Some(1),
                ..Config::default()
            },
            env: BTreeMap::new(),
            workers: 1,
            out_of_process: false,
            load_balanced: false,
            through_proxy: false,
            database: None,
            overrides: Vec::new(),
            added: None,
        }
    }

    /// Changes the simulator's configuration.
    #[must_use]
    pub fn simulator(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.simulator);
        self
    }

    /// Removes the rate limits of the provider and of the processes.
    ///
    /// For tests and benchmarks whose subject is not rate limiting: within the providers' limits a
    /// backfill takes minutes. Without this call the processes run at their default settings
    /// against the limits that the simulator enforces, as they do in production.
    #[must_use]
    pub fn fast_provider(mut self) -> Self {
        self.simulator.enforces_limits = false;
        self
    }

    /// Sets a variable of the processes.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the number of workers.
    #[must_use]
    pub const fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Runs the three programs as child processes, which can be killed.
    #[must_use]
    pub const fn out_of_process(mut self) -> Self {
        self.out_of_process = true;
        self
    }

    /// Runs child processes, with two of the API and two of the ingress behind a load balancer.
    #[must_use]
    pub const fn load_balanced(mut self) -> Self {
        (self.out_of_process, self.load_balanced) = (true, true);
        self
    }

    /// Connects to Postgres through a proxy that can be cut or frozen.
    #[must_use]
    pub const fn through_proxy(mut self) -> Self {
        self.through_proxy = true;
        self
    }

    /// Uses this database instead of a new one.
    #[must_use]
    pub fn database(mut self, database: TestDb) -> Self {
        self.database = Some(database);
        self
    }

    /// Adds providers to the processes, which run in this process.
    #[must_use]
    pub fn add_providers(mut self, added: Arc<dyn AddedProviders>) -> Self {
        self.added = Some(added);
        self
    }

    /// Starts all processes of a program with these overrides, as child processes.
    #[must_use]
    pub fn override_process(mut self, process: Process, overrides: ProcessOverrides) -> Self {
        self.out_of_process = true;
        self.overrides.push((process, overrides));
        self
    }

    /// Starts everything.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub fn start(self) -> LocalBoxFuture<'static, System> {
        // The settings of all simulated providers make it large.
        Box::pin(self.start_all())
    }

    async fn start_all(mut self) -> System {
        let db = match self.database.take() {
            Some(database) => database,
            None => TestDb::create().await,
        };
        let proxy = Proxy::start(db.url()).await;
        let url = if self.through_proxy {
            proxy.through(db.url())
        } else {
            db.url().to_owned()
        };
        let (api, ingress) = (free_address(), free_address());
        self.simulator.webhook_url = Some(format!("http://{ingress}"));
        self.simulator.api_url = format!("http://{api}");
        let is_unlimited = !self.simulator.enforces_limits;
        let simulator = provider_sim::start(self.simulator)
            .await
            .expect("the simulator starts");
        let mut env: BTreeMap<String, String> = simulator.env().into_iter().collect();
        if is_unlimited {
            env.extend(simulator.unlimited_env());
        }
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
            proxy,
            api: format!("http://{api}"),
            ingress: format!("http://{ingress}"),
            client: Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client"),
            env,
            added: self.added,
            lifecycles: Mutex::new(Vec::new()),
            processes: tokio::sync::Mutex::new(None),
        };
        if self.out_of_process {
            let (apis, ingresses) = if self.load_balanced {
                let (apis, ingresses) = (two_addresses(), two_addresses());
                balance(api, apis.clone()).await;
                balance(ingress, ingresses.clone()).await;
                (apis, ingresses)
            } else {
                (vec![api], vec![ingress])
            };
            system
                .start_processes(&apis, &ingresses, self.workers, &self.overrides)
                .await;
        } else {
            Box::pin(system.start_in_process(api, ingress, self.workers)).await;
        }
        system
    }
}

fn two_addresses() -> Vec<SocketAddr> {
    vec![free_address(), free_address()]
}
