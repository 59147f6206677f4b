//! Count of deliveries that have no outcome yet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// Deliveries that are queued or in flight.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    count: AtomicUsize,
    finished: Notify,
}

impl Unfinished {
    /// Counts a new delivery.
    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts a delivery's outcome.
    pub(crate) fn finish(&self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
        self.finished.notify_waiters();
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until every delivery has an outcome; `false` on timeout.
    pub(crate) async fn quiesce(&self, limit: Duration) -> bool {
        let idle = async {
            loop {
                let finished = self.finished.notified();
                if self.count() == 0 {
                    return;
                }
                finished.await;
            }
        };
        timeout(limit, idle).await.is_ok()
    }
}
