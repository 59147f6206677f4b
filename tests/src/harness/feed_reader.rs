//! Client that reads a tenant's feed continuously and retries after failed reads.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Endpoints, Tenant, eventually};

/// Record of the Signals and failures so far.
#[derive(Debug, Clone, Default)]
struct Progress {
    ids: Vec<Uuid>,
    /// Reads without a page; they are repeated with the same cursor.
    failed_reads: u64,
    /// Responses that a reader must never get.
    errors: Vec<String>,
}

/// Background reader of a tenant's feed; stops when it is dropped.
pub struct FeedReader {
    progress: Arc<Mutex<Progress>>,
    task: JoinHandle<()>,
}

impl FeedReader {
    /// Starts at the beginning of the feed.
    ///
    /// # Panics
    ///
    /// When the client cannot be built.
    pub fn start(tenant: &Tenant<'_>, endpoints: &Endpoints) -> Self {
        let progress: Arc<Mutex<Progress>> = Arc::default();
        let reader = Reader {
            client: Client::builder()
                .timeout(Duration::from_secs(10))
                .build()
                .expect("a client"),
            endpoints: endpoints.clone(),
            key: tenant.key.clone(),
            progress: Arc::clone(&progress),
        };
        Self {
            progress,
            task: tokio::spawn(reader.run()),
        }
    }

    /// Number of Signals read so far.
    pub fn count(&self) -> usize {
        lock(&self.progress).ids.len()
    }

    /// Number of reads that gave no page.
    pub fn failed_reads(&self) -> u64 {
        lock(&self.progress).failed_reads
    }

    /// Waits until it has read every stored Signal, and compares them with the feed.
    ///
    /// # Panics
    ///
    /// When the Signals or their order differ, or one was read twice.
    pub async fn assert_read_every_signal(self, tenant: &Tenant<'_>) {
        eventually("the reader is at the end of the feed", async || {
            self.count() >= tenant.count_signals().await
        })
        .await;
        let feed = tenant.map_feed(id_of).await;
        let progress = std::mem::take(&mut *lock(&self.progress));
        assert_eq!(progress.errors, Vec::<String>::new());
        let distinct: HashSet<Uuid> = progress.ids.iter().copied().collect();
        assert_eq!(distinct.len(), progress.ids.len(), "duplicate Signals");
        let missing: Vec<_> = feed.iter().filter(|id| !distinct.contains(id)).collect();
        assert!(missing.is_empty(), "missing Signals: {missing:?}");
        assert!(progress.ids == feed, "Signals in another order");
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Reader {
    client: Client,
    endpoints: Endpoints,
    key: String,
    progress: Arc<Mutex<Progress>>,
}

impl Reader {
    async fn run(self) {
        let mut cursor = String::new();
        loop {
            match self.page(&cursor).await {
                Ok(page) => {
                    let signals = page["signals"].as_array();
                    let ids = signals.into_iter().flatten().map(id_of);
                    lock(&self.progress).ids.extend(ids);
                    if let Some(next) = page["next_cursor"].as_str() {
                        next.clone_into(&mut cursor);
                    }
                    if page["has_more"] == Value::Bool(true) {
                        continue;
                    }
                }
                Err(error) => {
                    let mut progress = lock(&self.progress);
                    progress.failed_reads += 1;
                    progress.errors.extend(error);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads a page. The error is `None` if the process is down or returns 503.
    async fn page(&self, cursor: &str) -> Result<Value, Option<String>> {
        let mut url = format!("{}/v1/signals?limit=200", self.endpoints.next().await);
        if !cursor.is_empty() {
            url = format!("{url}&cursor={cursor}");
        }
        let request = self.client.get(url).bearer_auth(&self.key);
        let response = request.send().await.map_err(|_| None)?;
        match response.status() {
            StatusCode::OK => response.json().await.map_err(|_| None),
            StatusCode::SERVICE_UNAVAILABLE if response.headers().contains_key("retry-after") => {
                Err(None)
            }
            status => Err(Some(status.to_string())),
        }
    }
}

fn id_of(signal: &Value) -> Uuid {
    let id = signal["id"].as_str().and_then(|id| id.parse().ok());
    id.expect("a Signal has an id")
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
