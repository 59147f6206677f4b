//! A reader that follows a tenant's feed through everything, as Story Hunter does.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Doors, Tenant, eventually};

/// What it has seen.
#[derive(Debug, Clone, Default)]
struct Seen {
    ids: Vec<Uuid>,
    /// Reads that gave no page: the same cursor is sent again.
    again: u64,
    /// Answers that no reader should ever get.
    wrong: Vec<String>,
}

/// A reader that goes on until it is dropped.
pub struct Follower {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Begins at the feed's beginning.
    ///
    /// # Panics
    ///
    /// When no client can be made.
    pub fn start(tenant: &Tenant<'_>, doors: &Doors) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let reader = Reader {
            client: Client::builder()
                .timeout(Duration::from_secs(10))
                .build()
                .expect("a client"),
            doors: doors.clone(),
            key: tenant.key.clone(),
            seen: Arc::clone(&seen),
        };
        Self {
            seen,
            task: tokio::spawn(reader.follow()),
        }
    }

    /// How many Signals it has seen.
    pub fn count(&self) -> usize {
        lock(&self.seen).ids.len()
    }

    /// How many reads gave no page.
    pub fn interruptions(&self) -> u64 {
        lock(&self.seen).again
    }

    /// Waits until it has seen as many Signals as there are, and compares what it saw on its
    /// way with the feed as it is now: the same Signals in the same order, each once.
    ///
    /// # Panics
    ///
    /// When that is not so.
    pub async fn assert_saw_everything(self, tenant: &Tenant<'_>) {
        eventually("the follower is at the end of the feed", async || {
            self.count() >= tenant.stored().await
        })
        .await;
        let feed = tenant.feed_of(id_of).await;
        let seen = std::mem::take(&mut *lock(&self.seen));
        assert_eq!(seen.wrong, Vec::<String>::new());
        let distinct: HashSet<Uuid> = seen.ids.iter().copied().collect();
        assert_eq!(distinct.len(), seen.ids.len(), "a Signal was told twice");
        let missing: Vec<_> = feed.iter().filter(|id| !distinct.contains(id)).collect();
        assert!(missing.is_empty(), "never told: {missing:?}");
        assert!(seen.ids == feed, "told in another order");
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Reader {
    client: Client,
    doors: Doors,
    key: String,
    seen: Arc<Mutex<Seen>>,
}

impl Reader {
    async fn follow(self) {
        let mut cursor = String::new();
        loop {
            match self.page(&cursor).await {
                Ok(page) => {
                    let signals = page["signals"].as_array();
                    let ids = signals.into_iter().flatten().map(id_of);
                    lock(&self.seen).ids.extend(ids);
                    if let Some(next) = page["next_cursor"].as_str() {
                        next.clone_into(&mut cursor);
                    }
                    if page["has_more"] == Value::Bool(true) {
                        continue;
                    }
                }
                Err(wrong) => {
                    let mut seen = lock(&self.seen);
                    seen.again += 1;
                    seen.wrong.extend(wrong);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A page; without one, what was wrong with the answer, if anything: a process that is
    /// down or says 503 is no surprise.
    async fn page(&self, cursor: &str) -> Result<Value, Option<String>> {
        let mut url = format!("{}/v1/signals?limit=200", self.doors.next().await);
        if !cursor.is_empty() {
            url = format!("{url}&cursor={cursor}");
        }
        let request = self.client.get(url).bearer_auth(&self.key);
        let answer = request.send().await.map_err(|_| None)?;
        match answer.status() {
            StatusCode::OK => answer.json().await.map_err(|_| None),
            StatusCode::SERVICE_UNAVAILABLE if answer.headers().contains_key("retry-after") => {
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

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
