//! The part of a limit that this process keeps by itself.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::WHOLE_PROVIDER;
use crate::connectors::{LimitScope, RateBudget, RateLimits};
use crate::http::{Charge, Priority};
use crate::ids::TenantId;

/// Above this many accounts, those at rest are forgotten.
const ACCOUNTS: usize = 1024;

/// One provider's limits and what this process does within them.
#[derive(Debug)]
pub(super) struct Policy {
    account_concurrency: usize,
    clock: DefaultClock,
    budgets: Vec<LocalBudget>,
    process: Arc<Semaphore>,
    accounts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A budget, as far as this process uses it.
#[derive(Debug)]
pub(super) struct LocalBudget {
    pub(super) limit: RateBudget,
    rate: DefaultKeyedRateLimiter<String>,
}

impl Policy {
    pub(super) fn new(limits: RateLimits) -> Self {
        let limits = sound(limits);
        Self {
            account_concurrency: limits.account_concurrency,
            clock: DefaultClock::default(),
            process: Arc::new(Semaphore::new(limits.process_concurrency)),
            accounts: Mutex::new(HashMap::new()),
            budgets: limits.budgets.into_iter().map(LocalBudget::new).collect(),
        }
    }

    /// The budgets that a call is charged to, the narrowest first: a call that the widest
    /// refuses has taken the least from the others.
    pub(super) fn budgets(&self, charge: &Charge<'_>) -> impl Iterator<Item = &LocalBudget> {
        self.budgets
            .iter()
            .filter(|budget| concerns(&budget.limit, charge))
    }

    /// Takes a call from a budget's local rate, or says how long to wait for one.
    pub(super) fn check(&self, budget: &LocalBudget, key: &str) -> Result<(), Duration> {
        budget
            .rate
            .check_key(&key.to_owned())
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
            for budget in &self.budgets {
                budget.rate.retain_recent();
                budget.rate.shrink_to_fit();
            }
        }
        let places = Arc::new(Semaphore::new(self.account_concurrency));
        accounts.insert(account.to_owned(), Arc::clone(&places));
        places
    }
}

impl LocalBudget {
    fn new(limit: RateBudget) -> Self {
        let burst = NonZeroU32::new(limit.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(fastest_pace(&limit))
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        Self {
            rate: RateLimiter::keyed(quota),
            limit,
        }
    }

    /// The tenant whose share of the budget a call takes: what everybody's past has together is
    /// divided among those who read theirs.
    pub(super) fn share_of(&self, charge: &Charge<'_>) -> Option<TenantId> {
        match charge.priority {
            Priority::Backfill(tenant)
                if self.limit.reach == LimitScope::Provider && self.limit.quota.is_some() =>
            {
                Some(tenant)
            }
            _ => None,
        }
    }

    /// The account under which the budget is kept for this call.
    pub(super) fn key(&self, charge: &Charge<'_>) -> String {
        key(self.limit.reach, charge)
    }
}

/// Under which name the calls that a limit reaches are kept. No account's id has a space.
pub(super) fn key(reach: LimitScope, charge: &Charge<'_>) -> String {
    match reach {
        LimitScope::Account => charge.account.to_owned(),
        LimitScope::Operation => format!("{} {}", charge.account, charge.operation),
        LimitScope::Provider => WHOLE_PROVIDER.to_owned(),
    }
}

fn concerns(limit: &RateBudget, charge: &Charge<'_>) -> bool {
    limit.operations.is_empty() || limit.operations.contains(&charge.operation)
}

/// The time that one unit takes from a budget at its highest rate.
pub(super) fn fastest_pace(limit: &RateBudget) -> Duration {
    Duration::from_secs_f64(1.0 / limit.per_second)
}

/// A part of a whole.
fn part(of: f64) -> f64 {
    if of.is_finite() {
        of.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// Limits that can be kept: at least a call at a time, at most a call per nanosecond, at
/// least one per day. Every call passes its account's budget, because providers may block
/// an account.
fn sound(limits: RateLimits) -> RateLimits {
    let mut budgets: Vec<RateBudget> = limits.budgets;
    let of_account =
        |budget: &RateBudget| budget.reach == LimitScope::Account && budget.operations.is_empty();
    if !budgets.iter().any(of_account) {
        budgets.push(RateBudget::per_account(1000.0, 1000));
    }
    for budget in &mut budgets {
        budget.per_second = if budget.per_second.is_finite() {
            budget.per_second.clamp(1.0 / 86_400.0, 1e6)
        } else {
            1.0
        };
        budget.burst = budget.burst.max(1);
        if let Some(quota) = &mut budget.quota {
            quota.units = quota.units.max(1);
            quota.window = quota.window.max(Duration::from_secs(1));
            quota.reserve = part(quota.reserve);
            quota.poll_share = quota.poll_share.map(part);
        }
    }
    budgets.sort_by_key(|budget| match budget.reach {
        LimitScope::Operation => 0,
        LimitScope::Account => 1,
        LimitScope::Provider => 2,
    });
    RateLimits {
        budgets,
        account_concurrency: limits.account_concurrency.clamp(1, Semaphore::MAX_PERMITS),
        process_concurrency: limits.process_concurrency.clamp(1, Semaphore::MAX_PERMITS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_second: f64, burst: u32) -> RateLimits {
        RateLimits {
            budgets: vec![RateBudget::per_account(per_second, burst)],
            account_concurrency: 2,
            process_concurrency: 3,
        }
    }

    /// Takes a call from every budget.
    fn check(policy: &Policy, charge: &Charge<'_>) -> Result<(), Duration> {
        policy
            .budgets(charge)
            .try_for_each(|budget| policy.check(budget, &budget.key(charge)))
    }

    #[test]
    fn a_burst_passes_and_then_each_account_waits_for_itself() {
        let policy = Policy::new(limits(0.5, 3));
        let (a, b) = (Charge::new("a", "get"), Charge::new("b", "get"));
        for _ in 0..3 {
            assert_eq!(check(&policy, &a), Ok(()));
        }
        let wait = check(&policy, &a).expect_err("the burst is used up");
        assert!(
            wait > Duration::from_millis(1500) && wait <= Duration::from_secs(2),
            "{wait:?}"
        );
        assert_eq!(check(&policy, &b), Ok(()));
    }

    #[test]
    fn a_call_passes_the_budgets_that_concern_it() {
        let own = |reach, operations| RateBudget {
            reach,
            operations,
            ..RateBudget::per_account(0.01, 1)
        };
        let policy = Policy::new(RateLimits {
            budgets: vec![
                own(LimitScope::Provider, &["list"]),
                own(LimitScope::Operation, &["history"]),
            ],
            ..limits(1.0, 1)
        });
        let keys = |charge: &Charge<'_>| -> Vec<String> {
            policy
                .budgets(charge)
                .map(|budget| budget.key(charge))
                .collect()
        };
        let history = Charge::new("T1", "history");
        assert_eq!(keys(&history), ["T1 history", "T1"]);
        assert_eq!(keys(&Charge::new("T1", "info")), ["T1"]);
        assert_eq!(keys(&Charge::new("T1", "list")), ["T1", "*"]);
        assert_eq!(check(&policy, &history), Ok(()));
        assert!(check(&policy, &history).is_err());
        assert_eq!(check(&policy, &Charge::new("T1", "info")), Ok(()));
        assert_eq!(check(&policy, &Charge::new("T2", "history")), Ok(()));
    }

    #[test]
    fn limits_that_cannot_be_kept_become_the_smallest_that_can() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let policy = Policy::new(RateLimits {
                account_concurrency: 0,
                process_concurrency: 0,
                ..limits(rate, 0)
            });
            let charge = Charge::new("a", "get");
            assert_eq!(check(&policy, &charge), Ok(()));
            assert!(check(&policy, &charge).is_err(), "{rate}");
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
