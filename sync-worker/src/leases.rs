//! The leases that a worker holds, and the time until which they are valid.
//!
//! A worker that cannot renew its heartbeat stops its jobs when its leases expire, because another
//! worker may run them from then on. Postgres may also hold leases that this worker does not know,
//! because the response to a claim was lost or an outcome could not be written; a rescue requeues
//! those jobs as it does those of a dead worker.

use std::collections::HashSet;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::queue::{ClaimedJob, LEASE_SECONDS};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The time until which this worker's leases are valid, by its own clock.
#[derive(Debug)]
pub(crate) struct LeaseClock(watch::Sender<Option<Instant>>);

impl Default for LeaseClock {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl LeaseClock {
    /// Extends the leases after a heartbeat that was sent at `began`.
    pub(crate) fn extend(&self, began: Instant) {
        self.0
            .send_replace(Some(began + Duration::from_secs_f64(LEASE_SECONDS)));
    }

    /// Waits until leases are valid.
    pub(crate) async fn valid(&self) {
        let mut expiry = self.0.subscribe();
        let is_valid = |expiry: &Option<Instant>| expiry.is_some_and(|at| at > Instant::now());
        if expiry.wait_for(is_valid).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Waits until leases have expired.
    pub(crate) async fn expired(&self) {
        let mut expiry = self.0.subscribe();
        loop {
            let Some(at) = *expiry.borrow_and_update() else {
                return;
            };
            tokio::select! {
                () = sleep_until(at) => return,
                Ok(()) = expiry.changed() => {}
            }
        }
    }
}

/// The tokens of the leases that this worker holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases(Arc<Mutex<HashSet<i64>>>);

impl Leases {
    /// Registers the leases of claimed jobs until the returned guard is dropped.
    pub(crate) fn register(&self, jobs: &[ClaimedJob]) -> LeaseGuard {
        let tokens: Vec<i64> = jobs.iter().map(|job| job.lease_token).collect();
        self.lock().extend(&tokens);
        LeaseGuard {
            leases: self.clone(),
            tokens,
        }
    }

    /// The fencing tokens of all registered leases.
    pub(crate) fn tokens(&self) -> Vec<i64> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps leases registered while it lives.
#[derive(Debug)]
pub(crate) struct LeaseGuard {
    leases: Leases,
    tokens: Vec<i64>,
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        let mut registered = self.leases.lock();
        for token in &self.tokens {
            registered.remove(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn lease_clock_expires_with_the_last_heartbeat() {
        let clock = LeaseClock::default();
        let soon = Duration::from_millis(80);
        assert!(timeout(soon, clock.valid()).await.is_err(), "no heartbeat");
        let long_ago = Duration::from_secs_f64(LEASE_SECONDS - 0.08);
        let nearly_expired = || Instant::now().checked_sub(long_ago).expect("an instant");
        let started = Instant::now();
        clock.extend(nearly_expired());
        clock.valid().await;
        tokio::join!(clock.expired(), async {
            tokio::time::sleep(soon / 2).await;
            clock.extend(nearly_expired());
        });
        assert!(
            started.elapsed() >= soon * 3 / 2,
            "the second heartbeat counts"
        );
        assert!(timeout(soon, clock.valid()).await.is_err());
    }
}
