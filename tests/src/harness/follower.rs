//! A reader that follows a tenant's feed through everything, as Story Hunter does.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Doors, Tenant, eventually};

/// What it has seen.
#[derive(Debug, Clone, Default)]
struct Seen {
    ids: Vec<String>,
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
        self.seen().ids.len()
    }

    /// How many reads gave no page.
    pub fn interruptions(&self) -> u64 {
        self.seen().again
    }

    /// Waits until it is at the feed's end, and compares what it saw on its way with the
    /// feed as it is now: the same Signals in the same order, each once.
    ///
    /// # Panics
    ///
    /// When that is not so.
    pub async fn assert_saw_everything(self, tenant: &Tenant<'_>) {
        let mut feed = ids(&tenant.feed().await);
        eventually("the follower is at the end of the feed", async || {
            feed = ids(&tenant.feed().await);
            let seen = self.seen();
            assert_eq!(seen.wrong, Vec::<String>::new());
            seen.ids.len() >= feed.len()
        })
        .await;
        let seen = self.seen().ids;
        let distinct: HashSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "a Signal was told twice");
        let missing: Vec<_> = feed.iter().filter(|id| !distinct.contains(id)).collect();
        assert!(missing.is_empty(), "never told: {missing:?}");
        assert_eq!(seen, feed, "told in another order");
    }

    fn seen(&self) -> Seen {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
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
                    let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.ids
                        .extend(ids(page["signals"].as_array().map_or(&[], Vec::as_slice)));
                    drop(seen);
                    if let Some(next) = page["next_cursor"].as_str() {
                        next.clone_into(&mut cursor);
                    }
                    if page["has_more"] == Value::Bool(true) {
                        continue;
                    }
                }
                Err(wrong) => {
                    let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
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

fn ids(signals: &[Value]) -> Vec<String> {
    let ids = signals.iter().filter_map(|signal| signal["id"].as_str());
    ids.map(str::to_owned).collect()
}
