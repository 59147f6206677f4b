//! Client-side load balancing over several replicas of a process.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinSet;

/// Interval of the readiness probes of each endpoint.
const PROBE_INTERVAL: Duration = Duration::from_millis(25);

/// Ready endpoints, used round-robin.
#[derive(Debug, Clone)]
pub struct Endpoints {
    ready: Arc<RwLock<Vec<SocketAddr>>>,
    next: Arc<AtomicUsize>,
    _probes: Arc<JoinSet<()>>,
}

impl Endpoints {
    /// A single endpoint that is used without readiness probes.
    ///
    /// # Panics
    ///
    /// When `url` is not of the form `http://host:port`.
    pub fn only(url: &str) -> Self {
        let address = url.trim_start_matches("http://").parse();
        Self {
            ready: Arc::new(RwLock::new(vec![address.expect("an address")])),
            next: Arc::default(),
            _probes: Arc::default(),
        }
    }

    /// Endpoints that are used while their readiness probes succeed.
    ///
    /// # Panics
    ///
    /// When the client cannot be built.
    pub fn ready(addresses: &[SocketAddr]) -> Self {
        let ready: Arc<RwLock<Vec<SocketAddr>>> = Arc::default();
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()
            .expect("a client");
        let mut probes = JoinSet::new();
        for address in addresses.iter().copied() {
            let (ready, client) = (Arc::clone(&ready), client.clone());
            probes.spawn(async move {
                loop {
                    let response = client.get(format!("http://{address}/readyz")).send().await;
                    let is_ready = response.is_ok_and(|response| response.status().is_success());
                    update(&ready, address, is_ready);
                    tokio::time::sleep(PROBE_INTERVAL).await;
                }
            });
        }
        Self {
            ready,
            next: Arc::default(),
            _probes: Arc::new(probes),
        }
    }

    /// Whether the endpoint's last probe succeeded.
    pub fn is_ready(&self, address: SocketAddr) -> bool {
        self.read().contains(&address)
    }

    /// `http://host:port` of the next ready endpoint; waits while none is ready.
    pub async fn next(&self) -> String {
        loop {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            let ready = self.read();
            if !ready.is_empty() {
                return format!("http://{}", ready[next % ready.len()]);
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    fn read(&self) -> Vec<SocketAddr> {
        self.ready
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn update(ready: &RwLock<Vec<SocketAddr>>, address: SocketAddr, is_ready: bool) {
    let mut ready = ready.write().unwrap_or_else(PoisonError::into_inner);
    if !is_ready {
        ready.retain(|known| *known != address);
    } else if !ready.contains(&address) {
        ready.push(address);
    }
}
