//! Shares of something limited, such as the connections of a pool: no holder can take all of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Holders that are kept although they neither use nor wait for their share.
const KEPT: usize = 1_000;

/// The shares of all holders.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    /// Places that one holder may have at once.
    share: usize,
    acquire_timeout: Duration,
    holders: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Eq + Hash> Shares<K> {
    /// Gives each holder so many places, and lets it wait so long for one.
    pub(crate) fn new(share: usize, acquire_timeout: Duration) -> Self {
        Self {
            share,
            acquire_timeout,
            holders: Mutex::new(HashMap::new()),
        }
    }

    /// Waits for a place in the holder's share; `None` when there is none in time.
    pub(crate) async fn acquire(&self, holder: K) -> Option<OwnedSemaphorePermit> {
        let share = self.of(holder);
        timeout(self.acquire_timeout, share.acquire_owned())
            .await
            .ok()?
            .ok()
    }

    fn of(&self, holder: K) -> Arc<Semaphore> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.len() > KEPT && !holders.contains_key(&holder) {
            // A permit or a waiter holds a reference of its own.
            holders.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let share = holders
            .entry(holder)
            .or_insert_with(|| Arc::new(Semaphore::new(self.share)));
        Arc::clone(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holder_leaves_places_to_others() {
        let shares = Shares::new(2, Duration::from_millis(20));
        let held = [
            shares.acquire("one").await.expect("a place"),
            shares.acquire("one").await.expect("a place"),
        ];
        assert!(shares.acquire("one").await.is_none());
        drop(shares.acquire("other").await.expect("a place"));
        drop(held);
        drop(shares.acquire("one").await.expect("a place"));
    }

    #[tokio::test]
    async fn unused_shares_are_forgotten() {
        let shares = Shares::new(1, Duration::from_millis(20));
        let _held = shares.acquire(usize::MAX).await.expect("a place");
        for holder in 0..3 * KEPT {
            drop(shares.acquire(holder).await.expect("a place"));
        }
        let holders = shares
            .holders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        assert!(holders.len() <= KEPT + 1, "{}", holders.len());
        assert!(holders.contains_key(&usize::MAX));
    }
}
