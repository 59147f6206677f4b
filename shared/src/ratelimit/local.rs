//! The part of a limit that this process keeps by itself.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connectors::RateLimits;

/// Above this many accounts, those at rest are forgotten.
const ACCOUNTS: usize = 1024;

/// One provider's limits and what this process does within them.
#[derive(Debug)]
pub(super) struct Policy {
    limits: RateLimits,
    clock: DefaultClock,
    rate: DefaultKeyedRateLimiter<String>,
    process: Arc<Semaphore>,
    accounts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Policy {
    pub(super) fn new(limits: RateLimits) -> Self {
        let limits = sound(limits);
        let burst = NonZeroU32::new(limits.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(emission(&limits))
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        Self {
            clock: DefaultClock::default(),
            rate: RateLimiter::keyed(quota),
            process: Arc::new(Semaphore::new(limits.process_concurrency)),
            accounts: Mutex::new(HashMap::new()),
            limits,
        }
    }

    pub(super) const fn limits(&self) -> &RateLimits {
        &self.limits
    }

    /// Takes a call from the account's local rate, or says how long to wait for one.
    pub(super) fn check(&self, account: &str) -> Result<(), Duration> {
        self.rate
            .check_key(&account.to_owned())
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// A place among the account's calls in flight. `None` never happens: the semaphores
    /// are not closed.
    pub(super) async fn account_place(&self, account: &str) -> Option<OwnedSemaphorePermit> {
        let places = self.places_of(account);
        places.acquire_owned().await.ok()
    }

    /// A place among all calls in flight.
    pub(super) async fn process_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.process).acquire_owned().await.ok()
    }

    fn places_of(&self, account: &str) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = accounts.get(account) {
            return Arc::clone(places);
        }
        if accounts.len() >= ACCOUNTS {
            // Permits and waiters hold the semaphore too: alone, it is at rest.
            accounts.retain(|_, places| Arc::strong_count(places) > 1);
            self.rate.retain_recent();
            self.rate.shrink_to_fit();
        }
        let places = Arc::new(Semaphore::new(self.limits.account_concurrency));
        accounts.insert(account.to_owned(), Arc::clone(&places));
        places
    }
}

/// The time that one call takes from an account's rate.
pub(super) fn emission(limits: &RateLimits) -> Duration {
    Duration::from_secs_f64(1.0 / limits.requests_per_second)
}

/// Limits that can be kept: at least a call at a time, at most a call per nanosecond, at
/// least one per day.
fn sound(limits: RateLimits) -> RateLimits {
    let rate = limits.requests_per_second;
    RateLimits {
        requests_per_second: if rate.is_finite() {
            rate.clamp(1.0 / 86_400.0, 1e6)
        } else {
            1.0
        },
        burst: limits.burst.max(1),
        account_concurrency: limits.account_concurrency.clamp(1, Semaphore::MAX_PERMITS),
        process_concurrency: limits.process_concurrency.clamp(1, Semaphore::MAX_PERMITS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests_per_second: f64, burst: u32) -> RateLimits {
        RateLimits {
            requests_per_second,
            burst,
            account_concurrency: 2,
            process_concurrency: 3,
        }
    }

    #[test]
    fn a_burst_passes_and_then_each_account_waits_for_itself() {
        let policy = Policy::new(limits(0.5, 3));
        for _ in 0..3 {
            assert_eq!(policy.check("a"), Ok(()));
        }
        let wait = policy.check("a").expect_err("the burst is used up");
        assert!(
            wait > Duration::from_millis(1500) && wait <= Duration::from_secs(2),
            "{wait:?}"
        );
        assert_eq!(policy.check("b"), Ok(()));
    }

    #[test]
    fn limits_that_cannot_be_kept_become_the_smallest_that_can() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let policy = Policy::new(RateLimits {
                requests_per_second: rate,
                burst: 0,
                account_concurrency: 0,
                process_concurrency: 0,
            });
            assert_eq!(policy.check("a"), Ok(()));
            assert!(policy.check("a").is_err(), "{rate}");
        }
    }

    #[tokio::test]
    async fn calls_in_flight_are_bounded_per_account_and_process() {
        let policy = Policy::new(limits(1.0, 1));
        let one = policy.account_place("a").await;
        let two = policy.account_place("a").await;
        assert!(one.is_some() && two.is_some());
        assert_eq!(policy.places_of("a").available_permits(), 0);
        assert_eq!(policy.places_of("b").available_permits(), 2);
        drop(one);
        assert_eq!(policy.places_of("a").available_permits(), 1);

        let places = [policy.process_place().await, policy.process_place().await];
        assert_eq!(policy.process.available_permits(), 1);
        drop(places);
        assert_eq!(policy.process.available_permits(), 3);
    }

    #[tokio::test]
    async fn accounts_at_rest_are_forgotten_and_busy_ones_are_not() {
        let policy = Policy::new(limits(1.0, 1));
        let held = policy.account_place("busy").await;
        for account in 0..ACCOUNTS * 2 {
            drop(policy.account_place(&account.to_string()).await);
        }
        let known = policy.accounts.lock().expect("no holder panicked").len();
        assert!(known <= ACCOUNTS, "{known}");
        assert_eq!(policy.places_of("busy").available_permits(), 1);
        drop(held);
    }
}
