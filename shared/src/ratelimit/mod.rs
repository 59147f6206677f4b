//! The rate limiter of outbound calls.
//!
//! Three limits apply to a call. Semaphores bound the calls in flight per account and per process.
//! A local limiter (the `governor` crate) bounds the rate of this process. A shared budget in
//! Postgres bounds the rate of an account for all workers, counts its quota, and stores the limits
//! that providers state; its times are those of Postgres. Without Postgres no call is admitted.
//!
//! Calls run at the provider's rates and slow down only when the quota becomes scarce
//! ([`crate::connectors::RateQuota`]).
//!
//! Tenants that backfill at the same time get equal shares of a provider's quota, so that a long
//! backfill does not delay a short one.

mod budget;
mod decision;
mod local;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep, timeout_at};

use self::budget::{BudgetRow, SharedBudget};
use self::decision::{Decision, MIN_WAIT};
use self::local::{LocalBudget, Policy};
use crate::clock::SharedClock;
use crate::connectors::{ConnectorDeps, ConnectorSettings, RateLimits, RateUnit};
use crate::db::Db;
use crate::http::{
    Charge, LimitObservation, Permit, RateLimited, RateLimiter, page_deadline, record_admission,
};
use crate::model::LimitScope;
use crate::telemetry::names;

/// The account of the row that blocks a whole provider.
pub const WHOLE_PROVIDER: &str = "*";

/// The longest wait that is slept through.
///
/// A job that would wait longer frees its slot, unless it is in the middle of a page.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// The time until the next attempt when the length of the wait is unknown.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The longest block by a provider's headers: a wrong date must not disable a connection.
const MAX_BLOCK: TimeDelta = TimeDelta::hours(24);
/// The interval at which the stated quota is stored.
///
/// The budget counts calls between two writes.
const OBSERVE_INTERVAL: Duration = Duration::from_millis(500);
/// The maximum number of budgets with remembered observations; above it, all are dropped.
const MAX_OBSERVED: usize = 4096;

/// The rate limiter of all providers, shared by all processes through Postgres.
#[derive(Debug)]
pub struct PostgresRateLimiter {
    budget: SharedBudget,
    clock: DebugClock,
    policies: HashMap<&'static str, Policy>,
    max_wait: Duration,
    observed: Mutex<HashMap<(&'static str, String), Observed>>,
}

/// The dependencies of connectors whose calls a [`PostgresRateLimiter`] admits.
pub fn connector_deps(db: &Db, clock: SharedClock, settings: &ConnectorSettings) -> ConnectorDeps {
    let limiter = PostgresRateLimiter::new(db.clone(), Arc::clone(&clock), settings.limits());
    ConnectorDeps {
        clock,
        rate_limiter: Arc::new(limiter),
    }
}

/// The last observation of a budget in this process.
#[derive(Debug, Default)]
struct Observed {
    written_at: Option<Instant>,
    /// The time before which the provider allows no call.
    blocked_until: Option<DateTime<Utc>>,
}

/// A clock that implements `Debug`.
struct DebugClock(SharedClock);

impl std::fmt::Debug for DebugClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl PostgresRateLimiter {
    /// A rate limiter with these providers' limits.
    pub fn new(
        db: Db,
        clock: SharedClock,
        limits: impl IntoIterator<Item = (&'static str, RateLimits)>,
    ) -> Self {
        Self {
            budget: SharedBudget::new(db),
            clock: DebugClock(clock),
            policies: limits
                .into_iter()
                .map(|(slug, limits)| (slug, Policy::new(limits)))
                .collect(),
            max_wait: MAX_WAIT,
            observed: Mutex::default(),
        }
    }

    fn reject(&self, charge: &Charge<'_>, after: Duration, scope: LimitScope) -> RateLimited {
        let after = TimeDelta::from_std(after).unwrap_or(MAX_BLOCK);
        RateLimited {
            retry_at: self.clock.0.now() + after,
            scope,
            operation: charge.operation,
        }
    }

    /// Admits a call, or rejects it if it would wait longer than `max_wait`.
    async fn try_admit(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
    ) -> Result<Permit, RateLimited> {
        let retry_soon = || self.reject(charge, RETRY_INTERVAL, LimitScope::Account);
        let Some(policy) = self.policies.get(provider) else {
            tracing::error!(
                provider,
                "provider has no configured limits, rejecting call"
            );
            return Err(retry_soon());
        };
        let deadline = Instant::now() + self.max_wait;

        // The account first: a call that waits for a busy account must not hold a process permit.
        let account_permit = timeout_at(deadline, policy.account_permit(charge.account)).await;
        let account_permit = account_permit.map_err(|_| retry_soon())?;
        let process_permit = timeout_at(deadline, policy.process_permit())
            .await
            .map_err(|_| retry_soon())?;

        for budget in policy.budgets(charge) {
            let scope = budget.limit.scope;
            if let Some(tenant) = budget.share_of(charge) {
                let share = self.budget.share(provider, tenant).await;
                let share = share.ok_or_else(|| self.reject(charge, RETRY_INTERVAL, scope))?;
                self.take(provider, &share, budget, charge, deadline)
                    .await?;
            }
            let key = budget.key(charge);
            while let Err(wait) = policy.check(budget, &key) {
                self.wait(charge, wait, deadline, scope).await?;
            }
            let own = BudgetRow::new(provider, &key);
            self.take(provider, &own, budget, charge, deadline).await?;
        }
        Ok(Permit::new(
            account_permit.into_iter().chain(process_permit).collect(),
        ))
    }

    /// Takes a unit from a shared budget and waits until it may be used.
    async fn take(
        &self,
        provider: &'static str,
        row: &BudgetRow,
        budget: &LocalBudget,
        charge: &Charge<'_>,
        deadline: Instant,
    ) -> Result<(), RateLimited> {
        let limit = &budget.limit;
        loop {
            let max_wait = deadline.saturating_duration_since(Instant::now());
            match self.budget.take(row, limit, charge, max_wait).await {
                Decision::Granted(wait) => {
                    sleep(wait).await;
                    return self.recheck(provider, charge, wait);
                }
                Decision::Wait(wait, scope) => self.wait(charge, wait, deadline, scope).await?,
                Decision::Unavailable => {
                    return Err(self.reject(charge, RETRY_INTERVAL, LimitScope::Account));
                }
            }
        }
    }

    /// Rejects a call if the provider blocked calls while it waited.
    fn recheck(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
        waited: Duration,
    ) -> Result<(), RateLimited> {
        if waited.is_zero() {
            return Ok(());
        }
        let now = self.clock.0.now();
        let observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        for scope in [
            LimitScope::Operation,
            LimitScope::Account,
            LimitScope::Provider,
        ] {
            let known = observed.get(&(provider, local::key(scope, charge)));
            if let Some(retry_at) = known.and_then(|known| known.blocked_until)
                && retry_at > now
            {
                return Err(RateLimited {
                    retry_at,
                    scope,
                    operation: charge.operation,
                });
            }
        }
        Ok(())
    }

    /// Remembers a block, for calls that already wait.
    fn remember_block(&self, provider: &'static str, key: String, until: DateTime<Utc>) {
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = observed.entry((provider, key)).or_default();
        entry.blocked_until = entry.blocked_until.max(Some(until));
    }

    /// Sleeps unless the deadline comes first.
    async fn wait(
        &self,
        charge: &Charge<'_>,
        wait: Duration,
        deadline: Instant,
        scope: LimitScope,
    ) -> Result<(), RateLimited> {
        if Instant::now() + wait > deadline {
            return Err(self.reject(charge, wait, scope));
        }
        sleep(wait).await;
        Ok(())
    }

    /// Charges the cost of a call beyond the unit that was counted on admission.
    async fn spend(
        &self,
        provider: &'static str,
        policy: &Policy,
        charge: &Charge<'_>,
        units: u32,
    ) {
        let budgets = policy.budgets(charge).filter(|budget| {
            budget.limit.unit == RateUnit::Points
                || (charge.is_conditional && budget.limit.quota.is_some())
        });
        for budget in budgets {
            let limit = &budget.limit;
            if let Some(tenant) = budget.share_of(charge)
                && let Some(share) = self.budget.share(provider, tenant).await
            {
                self.budget
                    .spend(&share, limit, charge.priority, units)
                    .await;
            }
            let own = BudgetRow::new(provider, &budget.key(charge));
            self.budget.spend(&own, limit, charge.priority, units).await;
        }
    }

    /// Stores the quota that a response stated, at most once per [`OBSERVE_INTERVAL`].
    async fn store_quota(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
        seen: &LimitObservation,
    ) {
        let key = local::key(seen.scope, charge);
        {
            let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
            if observed.len() >= MAX_OBSERVED {
                observed.clear();
            }
            let entry = observed.entry((provider, key.clone())).or_default();
            let is_due = entry
                .written_at
                .is_none_or(|at| at.elapsed() >= OBSERVE_INTERVAL);
            if !is_due {
                return;
            }
            entry.written_at = Some(Instant::now());
        }
        let row = BudgetRow::new(provider, &key);
        self.budget.observe(&row, seen).await;
    }
}

#[async_trait]
impl RateLimiter for PostgresRateLimiter {
    async fn admit(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
    ) -> Result<Permit, RateLimited> {
        let started = Instant::now();
        let mut outcome = self.try_admit(provider, charge).await;
        while let (Err(rejected), Some(deadline)) = (&outcome, page_deadline()) {
            let wait = rejected.retry_at - self.clock.0.now();
            let wait = wait.to_std().unwrap_or_default().max(MIN_WAIT);
            if Instant::now() + wait > deadline {
                break;
            }
            // Without holding a permit, so that other calls can run meanwhile.
            sleep(wait).await;
            outcome = self.try_admit(provider, charge).await;
        }
        if outcome.is_ok() {
            record_admission(charge.operation);
        }
        let waited = started.elapsed();
        let delay = match &outcome {
            Err(_) => Some("rejected"),
            // A shorter time is that of the query itself.
            Ok(_) if waited > Duration::from_millis(20) => Some("waited"),
            Ok(_) => None,
        };
        if let Some(outcome) = delay {
            metrics::counter!(
                names::RATE_LIMIT_WAITS_TOTAL, "provider" => provider, "outcome" => outcome
            )
            .increment(1);
        }
        if outcome.is_ok() {
            metrics::histogram!(names::RATE_LIMIT_WAIT_SECONDS, "provider" => provider)
                .record(waited);
        }
        outcome
    }

    async fn observe(&self, provider: &'static str, charge: &Charge<'_>, seen: LimitObservation) {
        // The units that were counted on admission.
        let counted = u32::from(!charge.is_conditional);
        if let Some(policy) = self.policies.get(provider)
            && seen.spent > counted
        {
            self.spend(provider, policy, charge, seen.spent - counted)
                .await;
        }
        if seen.limit.is_some() || seen.remaining.is_some() {
            self.store_quota(provider, charge, &seen).await;
        }
        let Some(until) = blocked_until(seen, self.clock.0.now()) else {
            return;
        };
        let key = local::key(seen.scope, charge);
        self.remember_block(provider, key.clone(), until);
        match self.budget.block(provider, &key, until).await {
            Ok(()) => tracing::info!(
                provider,
                rate_limit.remaining = seen.remaining,
                rate_limit.blocked_until = %until,
                "provider blocks calls"
            ),
            // Until then the provider itself rejects calls.
            Err(error) => tracing::warn!(
                provider,
                error = &error as &dyn std::error::Error,
                "failed to store a block by the provider"
            ),
        }
    }
}

/// The time until which an observation blocks calls.
///
/// It is the stated time or the end of a used-up window.
fn blocked_until(seen: LimitObservation, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let window = seen.reset_at.filter(|_| seen.remaining == Some(0));
    let until = seen.blocked_until.max(window)?;
    (until > now).then(|| until.min(now + MAX_BLOCK))
}

#[cfg(test)]
mod tests;
