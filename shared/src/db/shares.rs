//! Fair shares of a limited resource, such as a session pool: no holder can use all of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Number of holders above which idle ones are removed.
const MAX_IDLE_HOLDERS: usize = 1_000;

/// The shares of all holders.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    /// Maximum number of permits per holder.
    share: usize,
    acquire_timeout: Duration,
    holders: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Eq + Hash> Shares<K> {
    /// Creates shares of `share` permits, each acquired within `acquire_timeout`.
    pub(crate) fn new(share: usize, acquire_timeout: Duration) -> Self {
        Self {
            share,
            acquire_timeout,
            holders: Mutex::new(HashMap::new()),
        }
    }

    /// Waits for a permit of the holder's share; `None` after the timeout.
    pub(crate) async fn acquire(&self, holder: K) -> Option<OwnedSemaphorePermit> {
        let share = self.semaphore_of(holder);
        timeout(self.acquire_timeout, share.acquire_owned())
            .await
            .ok()?
            .ok()
    }

    fn semaphore_of(&self, holder: K) -> Arc<Semaphore> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.len() > MAX_IDLE_HOLDERS && !holders.contains_key(&holder) {
            // Every permit and every waiter holds another reference.
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
    async fn holder_cannot_exhaust_shares_of_others() {
        let shares = Shares::new(2, Duration::from_millis(20));
        let held = [
            shares.acquire("one").await.expect("a permit"),
            shares.acquire("one").await.expect("a permit"),
        ];
        assert!(shares.acquire("one").await.is_none());
        drop(shares.acquire("other").await.expect("a permit"));
        drop(held);
        drop(shares.acquire("one").await.expect("a permit"));
    }

    #[tokio::test]
    async fn idle_holders_are_removed() {
        let shares = Shares::new(1, Duration::from_millis(20));
        let _held = shares.acquire(usize::MAX).await.expect("a permit");
        for holder in 0..3 * MAX_IDLE_HOLDERS {
            drop(shares.acquire(holder).await.expect("a permit"));
        }
        let holders = shares
            .holders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        assert!(holders.len() <= MAX_IDLE_HOLDERS + 1, "{}", holders.len());
        assert!(holders.contains_key(&usize::MAX));
    }
}
