//! Notification of open streams about new Signals of their tenant.
//!
//! A Signal can be read once no older transaction runs; this watermark is the same for all tenants.
//! While streams are open, one task polls the watermark, and queries which tenants have new
//! Signals only after it has moved. Another task checks that the keys of open streams are still
//! valid. So a thousand idle streams cost the same as one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::db::{Db, DbError, TenantScope, api_keys};
use shared::model::{ApiKeyId, TenantId};
use shared::service::Lifecycle;
use shared::signals::{Feed, FeedError, FeedWatermark};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The interval between reads of the watermark.
const WATERMARK_INTERVAL: Duration = Duration::from_millis(100);
/// The interval between checks of the keys of open streams.
const KEY_CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// The registry of open streams.
#[derive(Debug, Clone)]
pub(crate) struct FeedWatcher {
    subscribers: Arc<Mutex<Subscribers>>,
}

#[derive(Debug, Default)]
struct Subscribers {
    /// The latest watermark.
    watermark: u64,
    tenants: HashMap<TenantId, Tenant>,
    keys: HashMap<ApiKeyId, Key>,
}

#[derive(Debug)]
struct Tenant {
    scope: TenantScope,
    streams: usize,
    updated_to: watch::Sender<u64>,
}

#[derive(Debug)]
struct Key {
    scope: TenantScope,
    streams: usize,
    ended: CancellationToken,
}

/// A stream's subscription; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    subscribers: Arc<Mutex<Subscribers>>,
    tenant: TenantId,
    key: Option<ApiKeyId>,
    /// The watermark at the time of the subscription, which the first read must reach.
    pub(crate) since: u64,
    /// The watermark below which the tenant's newest Signals can be read.
    pub(crate) updated_to: watch::Receiver<u64>,
    /// Cancelled when the key of the stream is revoked or expires.
    pub(crate) key_ended: CancellationToken,
}

impl FeedWatcher {
    /// Starts the tasks, which run until the process drains.
    pub(crate) fn start(feed: Feed, db: Db, lifecycle: &Lifecycle) -> Self {
        let watcher = Self {
            subscribers: Arc::default(),
        };
        let stop = lifecycle.draining().clone();
        let (updates, keys) = (watcher.clone(), watcher.clone());
        lifecycle.supervise("feed watcher", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = updates.watch_feed(&feed) => {}
                () = keys.watch_keys(&db) => {}
            }
        });
        watcher
    }

    /// Subscribes a stream of a tenant, opened by a key or by an operator.
    pub(crate) fn subscribe(&self, scope: TenantScope, key: Option<ApiKeyId>) -> Subscription {
        let mut subscribers = self.lock();
        let tenant = scope.tenant_id();
        let entry = subscribers.tenants.entry(tenant).or_insert_with(|| Tenant {
            scope,
            streams: 0,
            updated_to: watch::Sender::new(0),
        });
        entry.streams += 1;
        let updated_to = entry.updated_to.subscribe();
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
            updated_to,
            key_ended,
        }
    }

    async fn watch_feed(&self, feed: &Feed) {
        let mut ticks = tokio::time::interval(WATERMARK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut previous: Option<FeedWatermark> = None;
        loop {
            ticks.tick().await;
            let tenants: Vec<TenantScope> = {
                let subscribers = self.lock();
                subscribers
                    .tenants
                    .values()
                    .map(|entry| entry.scope)
                    .collect()
            };
            if tenants.is_empty() {
                previous = None;
                continue;
            }
            previous = match self.notify_updated(feed, &tenants, previous).await {
                Ok(watermark) => {
                    self.lock().watermark = watermark.tx_id;
                    Some(watermark)
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

    /// Notifies the tenants with new Signals since `previous`.
    ///
    /// Without a previous watermark, or after a change of the generation, it notifies all.
    async fn notify_updated(
        &self,
        feed: &Feed,
        tenants: &[TenantScope],
        previous: Option<FeedWatermark>,
    ) -> Result<FeedWatermark, FeedError> {
        let current = feed.watermark().await?;
        let Some(previous) = previous.filter(|previous| previous.generation == current.generation)
        else {
            let all = tenants.iter().map(TenantScope::tenant_id);
            self.notify(all, current.tx_id);
            return Ok(current);
        };
        if previous == current {
            return Ok(current);
        }
        // The read may have moved to another server, whose watermark is behind.
        let from = previous.tx_id.min(current.tx_id);
        let updated = feed.find_updated_tenants(tenants, from).await?;
        self.notify(updated.tenants.into_iter(), updated.watermark.tx_id);
        Ok(updated.watermark)
    }

    fn notify(&self, tenants: impl Iterator<Item = TenantId>, watermark: u64) {
        let subscribers = self.lock();
        for tenant in tenants {
            if let Some(entry) = subscribers.tenants.get(&tenant) {
                entry.updated_to.send_replace(watermark);
            }
        }
    }

    async fn watch_keys(&self, db: &Db) {
        let mut ticks = tokio::time::interval(KEY_CHECK_INTERVAL);
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
        let valid = api_keys::find_valid(db, &keys).await?;
        let subscribers = self.lock();
        for (_, id) in keys.iter().filter(|(_, id)| !valid.contains(id)) {
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
