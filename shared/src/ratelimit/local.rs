//! The limits that this process enforces without Postgres.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::WHOLE_PROVIDER;
use crate::connectors::{RateBudget, RateLimits};
use crate::http::{Charge, Priority};
use crate::model::{LimitScope, TenantId};

/// The maximum number of accounts in memory; above it, idle ones are dropped.
const MAX_ACCOUNTS: usize = 1024;

/// One provider's limits and their state in this process.
#[derive(Debug)]
pub(super) struct Policy {
    account_concurrency: usize,
    clock: DefaultClock,
    budgets: Vec<LocalBudget>,
    process: Arc<Semaphore>,
    accounts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A budget with the local rate of this process.
#[derive(Debug)]
pub(super) struct LocalBudget {
    pub(super) limit: RateBudget,
    rate: DefaultKeyedRateLimiter<String>,
}

impl Policy {
    pub(super) fn new(limits: RateLimits) -> Self {
        let limits = clamp_limits(limits);
        Self {
            account_concurrency: limits.account_concurrency,
            clock: DefaultClock::default(),
            process: Arc::new(Semaphore::new(limits.process_concurrency)),
            accounts: Mutex::new(HashMap::new()),
            budgets: limits.budgets.into_iter().map(LocalBudget::new).collect(),
        }
    }

    /// The budgets that a call is charged to, narrowest first.
    ///
    /// In this order a rejected call has taken the least from budgets that others share.
    pub(super) fn budgets(&self, charge: &Charge<'_>) -> impl Iterator<Item = &LocalBudget> {
        self.budgets
            .iter()
            .filter(|budget| applies_to(&budget.limit, charge))
    }

    /// Takes a unit from a budget's local rate, or returns the wait for one.
    pub(super) fn check(&self, budget: &LocalBudget, key: &str) -> Result<(), Duration> {
        budget
            .rate
            .check_key(&key.to_owned())
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Acquires a permit of the account; `Some`, because the semaphores are never closed.
    pub(super) async fn account_permit(&self, account: &str) -> Option<OwnedSemaphorePermit> {
        let semaphore = self.account_semaphore(account);
        semaphore.acquire_owned().await.ok()
    }

    /// Acquires a permit of the process.
    pub(super) async fn process_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.process).acquire_owned().await.ok()
    }

    fn account_semaphore(&self, account: &str) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = accounts.get(account) {
            return Arc::clone(semaphore);
        }
        if accounts.len() >= MAX_ACCOUNTS {
            // Permits and waiters hold references, so an idle account has only this one.
            accounts.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            for budget in &self.budgets {
                budget.rate.retain_recent();
                budget.rate.shrink_to_fit();
            }
        }
        let semaphore = Arc::new(Semaphore::new(self.account_concurrency));
        accounts.insert(account.to_owned(), Arc::clone(&semaphore));
        semaphore
    }
}

impl LocalBudget {
    fn new(limit: RateBudget) -> Self {
        // The shared budget measures the slack; here a whole unit stands for it.
        let burst = limit
            .burst
            .saturating_add(u32::from(!limit.slack.is_zero()));
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(fastest_pace(&limit))
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        Self {
            rate: governor::RateLimiter::keyed(quota),
            limit,
        }
    }

    /// The tenant whose share of the budget a call uses: backfills share a provider's quota.
    pub(super) fn share_of(&self, charge: &Charge<'_>) -> Option<TenantId> {
        match charge.priority {
            Priority::Backfill(tenant)
                if self.limit.scope == LimitScope::Provider && self.limit.quota.is_some() =>
            {
                Some(tenant)
            }
            _ => None,
        }
    }

    /// The account of the budget's row for this call.
    ///
    /// A budget of some of an account's operations has a row of its own, beside the account's.
    pub(super) fn key(&self, charge: &Charge<'_>) -> String {
        match (self.limit.scope, self.limit.operations) {
            (LimitScope::Account, operations) if !operations.is_empty() => {
                format!("{} {}", charge.account, operations.join("+"))
            }
            (scope, _) => key(scope, charge),
        }
    }
}

/// The account of the row for a scope. Ids of accounts contain no space.
pub(super) fn key(scope: LimitScope, charge: &Charge<'_>) -> String {
    match scope {
        LimitScope::Account => charge.account.to_owned(),
        LimitScope::Operation => format!("{} {}", charge.account, charge.operation),
        LimitScope::Provider => WHOLE_PROVIDER.to_owned(),
    }
}

fn applies_to(limit: &RateBudget, charge: &Charge<'_>) -> bool {
    limit.operations.is_empty() || limit.operations.contains(&charge.operation)
}

/// The time per unit at a budget's highest rate.
pub(super) fn fastest_pace(limit: &RateBudget) -> Duration {
    Duration::from_secs_f64(1.0 / limit.per_second)
}

/// A fraction between 0 and 1.
fn clamp_fraction(value: f64) -> f64 {
    if value.is_finite() {
        value.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// Clamps limits to the range that can be enforced.
///
/// The range is at least one call at a time, and rates between one call per day and one per
/// microsecond. A budget per account is added if there is none, because providers may block an
/// account.
fn clamp_limits(limits: RateLimits) -> RateLimits {
    let mut budgets: Vec<RateBudget> = limits.budgets;
    let is_per_account =
        |budget: &RateBudget| budget.scope == LimitScope::Account && budget.operations.is_empty();
    if !budgets.iter().any(is_per_account) {
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
            quota.reserve = clamp_fraction(quota.reserve);
            quota.poll_share = quota.poll_share.map(clamp_fraction);
        }
    }
    budgets.sort_by_key(|budget| match budget.scope {
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

    /// Takes a unit from every budget of a call.
    fn check(policy: &Policy, charge: &Charge<'_>) -> Result<(), Duration> {
        policy
            .budgets(charge)
            .try_for_each(|budget| policy.check(budget, &budget.key(charge)))
    }

    #[test]
    fn each_account_waits_after_its_own_burst() {
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
    fn call_is_charged_to_budgets_of_its_operation() {
        let own = |scope, operations| RateBudget {
            scope,
            operations,
            ..RateBudget::per_account(0.01, 1)
        };
        let policy = Policy::new(RateLimits {
            budgets: vec![
                own(LimitScope::Provider, &["list"]),
                own(LimitScope::Operation, &["history"]),
                own(LimitScope::Account, &["read", "count"]),
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
        for operation in ["read", "count"] {
            assert_eq!(keys(&Charge::new("T1", operation)), ["T1 read+count", "T1"]);
        }
        assert_eq!(check(&policy, &history), Ok(()));
        assert!(check(&policy, &history).is_err());
        assert_eq!(check(&policy, &Charge::new("T1", "info")), Ok(()));
        assert_eq!(check(&policy, &Charge::new("T2", "history")), Ok(()));
    }

    #[test]
    fn invalid_limits_become_the_smallest_valid_ones() {
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
    async fn calls_in_flight_are_bounded() {
        let policy = Policy::new(limits(1.0, 1));
        let one = policy.account_permit("a").await;
        let two = policy.account_permit("a").await;
        assert!(one.is_some() && two.is_some());
        assert_eq!(policy.account_semaphore("a").available_permits(), 0);
        assert_eq!(policy.account_semaphore("b").available_permits(), 2);
        drop(one);
        assert_eq!(policy.account_semaphore("a").available_permits(), 1);

        let permits = [policy.process_permit().await, policy.process_permit().await];
        assert_eq!(policy.process.available_permits(), 1);
        drop(permits);
        assert_eq!(policy.process.available_permits(), 3);
    }

    #[tokio::test]
    async fn idle_accounts_are_dropped_and_busy_ones_kept() {
        let policy = Policy::new(limits(1.0, 1));
        let held = policy.account_permit("busy").await;
        for account in 0..MAX_ACCOUNTS * 2 {
            drop(policy.account_permit(&account.to_string()).await);
        }
        let known = policy.accounts.lock().expect("no holder panicked").len();
        assert!(known <= MAX_ACCOUNTS, "{known}");
        assert_eq!(policy.account_semaphore("busy").available_permits(), 1);
        drop(held);
    }
}
