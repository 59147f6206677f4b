//! Where requests go in: what a load balancer in front of several of the same knows.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinSet;

/// How often each door is asked whether it is open.
const PROBE: Duration = Duration::from_millis(25);

/// The addresses that take requests at the moment, used in turn.
#[derive(Debug, Clone)]
pub struct Doors {
    open: Arc<RwLock<Vec<SocketAddr>>>,
    turn: Arc<AtomicUsize>,
    _probes: Arc<JoinSet<()>>,
}

impl Doors {
    /// One door that is used whatever it says.
    ///
    /// # Panics
    ///
    /// When `url` is not of the form `http://host:port`.
    pub fn only(url: &str) -> Self {
        let address = url.trim_start_matches("http://").parse();
        Self {
            open: Arc::new(RwLock::new(vec![address.expect("an address")])),
            turn: Arc::default(),
            _probes: Arc::default(),
        }
    }

    /// Doors that are used while they say that they are ready.
    ///
    /// # Panics
    ///
    /// When no client can be made.
    pub fn ready(addresses: &[SocketAddr]) -> Self {
        let open: Arc<RwLock<Vec<SocketAddr>>> = Arc::default();
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()
            .expect("a client");
        let mut probes = JoinSet::new();
        for address in addresses.iter().copied() {
            let (open, client) = (Arc::clone(&open), client.clone());
            probes.spawn(async move {
                loop {
                    let answer = client.get(format!("http://{address}/readyz")).send().await;
                    let ready = answer.is_ok_and(|answer| answer.status().is_success());
                    note(&open, address, ready);
                    tokio::time::sleep(PROBE).await;
                }
            });
        }
        Self {
            open,
            turn: Arc::default(),
            _probes: Arc::new(probes),
        }
    }

    /// Whether this door is in use.
    pub fn is_open(&self, address: SocketAddr) -> bool {
        self.read().contains(&address)
    }

    /// `http://host:port` of the next door in turn; waits while all are closed.
    pub async fn next(&self) -> String {
        loop {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let open = self.read();
            if !open.is_empty() {
                return format!("http://{}", open[turn % open.len()]);
            }
            tokio::time::sleep(PROBE).await;
        }
    }

    fn read(&self) -> Vec<SocketAddr> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn note(open: &RwLock<Vec<SocketAddr>>, address: SocketAddr, ready: bool) {
    let mut open = open.write().unwrap_or_else(PoisonError::into_inner);
    if !ready {
        open.retain(|known| *known != address);
    } else if !open.contains(&address) {
        open.push(address);
    }
}
