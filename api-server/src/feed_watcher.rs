//! Wakes open streams when their own tenant's feed has grown.
//!
//! A Signal can be read once no transaction older than its own is running; that watermark is one
//! number for all tenants. One task watches it while anybody listens, and asks which of the
//! listening tenants have new Signals only when it has moved. It also checks the keys that hold
//! streams open. A thousand idle streams cost what one costs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::db::{Db, DbError, TenantScope, api_keys};
use shared::ids::{ApiKeyId, TenantId};
use shared::signals::{Feed, FeedError, Mark};
use shared::telemetry::Lifecycle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the watermark is read.
const INTERVAL: Duration = Duration::from_millis(100);
/// How often the keys that hold streams open are checked.
const KEY_INTERVAL: Duration = Duration::from_secs(15);

/// Where streams subscribe.
#[derive(Debug, Clone)]
pub(crate) struct FeedWatcher {
    subscribers: Arc<Mutex<Subscribers>>,
}

#[derive(Debug, Default)]
struct Subscribers {
    /// The watermark that was last read.
    watermark: u64,
    tenants: HashMap<TenantId, Tenant>,
    keys: HashMap<ApiKeyId, Key>,
}

#[derive(Debug)]
struct Tenant {
    scope: TenantScope,
    streams: usize,
    grown_to: watch::Sender<u64>,
}

#[derive(Debug)]
struct Key {
    scope: TenantScope,
    streams: usize,
    ended: CancellationToken,
}

/// A stream's subscription; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    subscribers: Arc<Mutex<Subscribers>>,
    tenant: TenantId,
    key: Option<ApiKeyId>,
    /// The watermark when the stream subscribed: what it reads first may not be older.
    pub(crate) since: u64,
    /// Changes when the tenant's feed has grown, to the watermark below which the new Signals
    /// can be read.
    pub(crate) grown_to: watch::Receiver<u64>,
    /// Ends when the key that opened the stream is revoked or expires.
    pub(crate) key_ended: CancellationToken,
}

impl FeedWatcher {
    /// Watches this feed until the process takes nothing more.
    pub(crate) fn start(feed: Feed, db: Db, lifecycle: &Lifecycle) -> Self {
        let watcher = Self {
            subscribers: Arc::default(),
        };
        let stop = lifecycle.soft().clone();
        let (growth, keys) = (watcher.clone(), watcher.clone());
        lifecycle.supervise("feed watcher", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = growth.watch_feed(&feed) => {}
                () = keys.watch_keys(&db) => {}
            }
        });
        watcher
    }

    /// Subscribes a stream of a tenant, held open by a key or by an operator.
    pub(crate) fn subscribe(&self, scope: TenantScope, key: Option<ApiKeyId>) -> Subscription {
        let mut subscribers = self.lock();
        let tenant = scope.tenant_id();
        let entry = subscribers.tenants.entry(tenant).or_insert_with(|| Tenant {
            scope,
            streams: 0,
            grown_to: watch::Sender::new(0),
        });
        entry.streams += 1;
        let grown_to = entry.grown_to.subscribe();
        let key_ended = match key {
            None => CancellationToken::new(),
            Some(id) => {
                let entry = subscribers.keys.entry(id).or_insert_with(|| Key {
                    scope,
                    streams: 0,
                    ended: CancellationToken::new(),
                });
                entry.streams += 1;
                entry.ended.clone()
            }
        };
        Subscription {
            subscribers: Arc::clone(&self.subscribers),
            tenant,
            key,
            since: subscribers.watermark,
            grown_to,
            key_ended,
        }
    }

    async fn watch_feed(&self, feed: &Feed) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen: Option<Mark> = None;
        loop {
            ticks.tick().await;
            let tenants: Vec<TenantScope> = {
                let subscribers = self.lock();
                subscribers.tenants.values().map(|one| one.scope).collect()
            };
            if tenants.is_empty() {
                seen = None;
                continue;
            }
            seen = match self.wake(feed, &tenants, seen).await {
                Ok(mark) => {
                    self.lock().watermark = mark.watermark;
                    Some(mark)
                }
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "failed to read the feed's watermark"
                    );
                    None
                }
            };
        }
    }

    /// Wakes the tenants whose feed has grown since `seen`; all, when nothing is known of the
    /// time before or the feed has begun another generation.
    async fn wake(
        &self,
        feed: &Feed,
        tenants: &[TenantScope],
        seen: Option<Mark>,
    ) -> Result<Mark, FeedError> {
        let mark = feed.mark().await?;
        let Some(seen) = seen.filter(|seen| seen.generation == mark.generation) else {
            let all = tenants.iter().map(TenantScope::tenant_id);
            self.tell(all, mark.watermark);
            return Ok(mark);
        };
        if seen == mark {
            return Ok(mark);
        }
        // Another server may answer now, and be behind.
        let from = seen.watermark.min(mark.watermark);
        let growth = feed.growth(tenants, from).await?;
        self.tell(growth.tenants.into_iter(), growth.mark.watermark);
        Ok(growth.mark)
    }

    fn tell(&self, tenants: impl Iterator<Item = TenantId>, watermark: u64) {
        let subscribers = self.lock();
        for tenant in tenants {
            if let Some(found) = subscribers.tenants.get(&tenant) {
                found.grown_to.send_replace(watermark);
            }
        }
    }

    async fn watch_keys(&self, db: &Db) {
        let mut ticks = tokio::time::interval(KEY_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.check_keys(db).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "failed to check the keys of open streams"
                );
            }
        }
    }

    async fn check_keys(&self, db: &Db) -> Result<(), DbError> {
        let keys: Vec<(TenantScope, ApiKeyId)> = {
            let subscribers = self.lock();
            let keys = subscribers.keys.iter();
            keys.map(|(id, key)| (key.scope, *id)).collect()
        };
        if keys.is_empty() {
            return Ok(());
        }
        let live = api_keys::live(db, &keys).await?;
        let subscribers = self.lock();
        for (_, id) in keys.iter().filter(|(_, id)| !live.contains(id)) {
            if let Some(key) = subscribers.keys.get(id) {
                key.ended.cancel();
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        lock(&self.subscribers)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscribers = lock(&self.subscribers);
        if let Entry::Occupied(mut entry) = subscribers.tenants.entry(self.tenant) {
            entry.get_mut().streams -= 1;
            if entry.get().streams == 0 {
                entry.remove();
            }
        }
        let Some(key) = self.key else { return };
        if let Entry::Occupied(mut entry) = subscribers.keys.entry(key) {
            entry.get_mut().streams -= 1;
            if entry.get().streams == 0 {
                entry.remove();
            }
        }
    }
}

fn lock(subscribers: &Mutex<Subscribers>) -> MutexGuard<'_, Subscribers> {
    subscribers.lock().unwrap_or_else(PoisonError::into_inner)
}
