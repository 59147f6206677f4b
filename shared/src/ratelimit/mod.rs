//! Rate limits: who may call a provider, and when.
//!
//! A call passes three locks. Semaphores bound the calls in flight per account and per
//! process; a local limiter (the `governor` crate) keeps the highest rate of this process; and
//! the shared budget in Postgres, in Postgres's time, holds one account's rate for all workers
//! together, counts its quota, and carries what providers said about their limits. Without
//! Postgres no call goes out.
//!
//! The pace is the provider's: calls go as fast as its rates allow, and slow down only when the
//! quota becomes scarce ([`crate::connectors::RateQuota`]).
//!
//! What all tenants have together for reading the past is divided: each that wants some has an
//! equal share, so that a long backfill takes nothing from a short one.

mod budget;
mod local;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep, timeout_at};

use self::budget::{Budget, BudgetRow, Decision, SHORTEST};
use self::local::{LocalBudget, Policy};
use crate::clock::SharedClock;
use crate::connectors::{LimitScope, RateLimits, RateUnit};
use crate::db::Db;
use crate::http::{
    Admission, Charge, LimitObservation, RateGate, Refused, note_admitted, page_deadline,
};
use crate::telemetry::names;

/// The account under which a block of the whole provider is kept.
pub const WHOLE_PROVIDER: &str = "*";

/// The longest wait that is slept through; a job that would wait longer gives its slot to
/// another, unless it is in the middle of a page.
const PATIENCE: Duration = Duration::from_secs(2);
/// When to come back if it is not known how long something takes.
const SOON: Duration = Duration::from_secs(1);
/// What a provider's headers may block at the most. A provider that names a moment years
/// away must not end a connection.
const LONGEST_BLOCK: TimeDelta = TimeDelta::hours(24);
/// How often the state of a quota is written down. Between two writes the budget counts by itself.
const OBSERVE_INTERVAL: Duration = Duration::from_millis(500);
/// Above this many budgets, the observations that are due are forgotten.
const MAX_OBSERVED: usize = 4096;

/// The gate of all providers.
#[derive(Debug)]
pub struct Governor {
    budget: Budget,
    clock: SharedDebug,
    policies: HashMap<&'static str, Policy>,
    patience: Duration,
    observed: Mutex<HashMap<(&'static str, String), Observed>>,
}

/// When the state of a quota was last written down, and what has come since.
#[derive(Debug, Default)]
struct Observed {
    written_at: Option<Instant>,
    /// Until when this process has heard that no call may go out.
    blocked_until: Option<DateTime<Utc>>,
}

/// A clock has nothing to show.
struct SharedDebug(SharedClock);

impl std::fmt::Debug for SharedDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Governor {
    /// A gate that keeps these providers' limits.
    pub fn new(
        db: Db,
        clock: SharedClock,
        limits: impl IntoIterator<Item = (&'static str, RateLimits)>,
    ) -> Self {
        Self {
            budget: Budget::new(db),
            clock: SharedDebug(clock),
            policies: limits
                .into_iter()
                .map(|(slug, limits)| (slug, Policy::new(limits)))
                .collect(),
            patience: PATIENCE,
            observed: Mutex::default(),
        }
    }

    fn refuse(&self, charge: &Charge<'_>, after: Duration, scope: LimitScope) -> Refused {
        let after = TimeDelta::from_std(after).unwrap_or(LONGEST_BLOCK);
        Refused {
            retry_at: self.clock.0.now() + after,
            scope,
            operation: charge.operation,
        }
    }

    async fn pass(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
    ) -> Result<Admission, Refused> {
        let soon = || self.refuse(charge, SOON, LimitScope::Account);
        let Some(policy) = self.policies.get(provider) else {
            tracing::error!(provider, "a provider without limits may not be called");
            return Err(soon());
        };
        let until = Instant::now() + self.patience;

        // The account first: who waits for a busy account must not hold a place of all.
        let of_account = timeout_at(until, policy.account_place(charge.account)).await;
        let of_account = of_account.map_err(|_| soon())?;
        let of_process = timeout_at(until, policy.process_place())
            .await
            .map_err(|_| soon())?;

        for budget in policy.budgets(charge) {
            let reach = budget.limit.reach;
            if let Some(tenant) = budget.share_of(charge) {
                let share = self.budget.share(provider, tenant).await;
                let share = share.ok_or_else(|| self.refuse(charge, SOON, reach))?;
                self.take(provider, &share, budget, charge, until).await?;
            }
            let key = budget.key(charge);
            while let Err(wait) = policy.check(budget, &key) {
                self.wait(charge, wait, until, reach).await?;
            }
            let own = BudgetRow::new(provider, &key);
            self.take(provider, &own, budget, charge, until).await?;
        }
        Ok(Admission::new(
            of_account.into_iter().chain(of_process).collect(),
        ))
    }

    /// Takes a unit from a shared budget, and waits until it may be used.
    async fn take(
        &self,
        provider: &'static str,
        row: &BudgetRow,
        budget: &LocalBudget,
        charge: &Charge<'_>,
        until: Instant,
    ) -> Result<(), Refused> {
        let limit = &budget.limit;
        loop {
            let longest = until.saturating_duration_since(Instant::now());
            match self.budget.take(row, limit, charge, longest).await {
                Decision::Granted(wait) => {
                    sleep(wait).await;
                    return self.recheck(provider, charge, wait);
                }
                Decision::Wait(wait, scope) => self.wait(charge, wait, until, scope).await?,
                Decision::Unknown => {
                    return Err(self.refuse(charge, SOON, LimitScope::Account));
                }
            }
        }
    }

    /// Refuses a call that has waited for its moment while an answer to another said that no
    /// call may go out.
    fn recheck(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
        waited: Duration,
    ) -> Result<(), Refused> {
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
                return Err(Refused {
                    retry_at,
                    scope,
                    operation: charge.operation,
                });
            }
        }
        Ok(())
    }

    /// Remembers that no call may go out, for those that wait for their moment already.
    fn remember_block(&self, provider: &'static str, key: String, until: DateTime<Utc>) {
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = observed.entry((provider, key)).or_default();
        entry.blocked_until = entry.blocked_until.max(Some(until));
    }

    /// Sleeps, unless that would take longer than is left.
    async fn wait(
        &self,
        charge: &Charge<'_>,
        wait: Duration,
        until: Instant,
        scope: LimitScope,
    ) -> Result<(), Refused> {
        if Instant::now() + wait > until {
            return Err(self.refuse(charge, wait, scope));
        }
        sleep(wait).await;
        Ok(())
    }

    /// Charges what a call turned out to cost beyond what was counted when it was admitted.
    async fn spend(&self, provider: &'static str, policy: &Policy, charge: &Charge<'_>, more: u32) {
        let counting = policy.budgets(charge).filter(|budget| {
            budget.limit.unit == RateUnit::Points
                || (charge.is_conditional && budget.limit.quota.is_some())
        });
        for budget in counting {
            let limit = &budget.limit;
            if let Some(tenant) = budget.share_of(charge)
                && let Some(share) = self.budget.share(provider, tenant).await
            {
                self.budget
                    .spend(&share, limit, charge.priority, more)
                    .await;
            }
            let own = BudgetRow::new(provider, &budget.key(charge));
            self.budget.spend(&own, limit, charge.priority, more).await;
        }
    }

    /// Writes down what an answer stated about a quota, now and then.
    async fn note_quota(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
        seen: &LimitObservation,
    ) {
        let key = local::key(seen.reach, charge);
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
impl RateGate for Governor {
    async fn admit(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
    ) -> Result<Admission, Refused> {
        let started = Instant::now();
        let mut outcome = self.pass(provider, charge).await;
        while let (Err(refused), Some(deadline)) = (&outcome, page_deadline()) {
            let wait = refused.retry_at - self.clock.0.now();
            let wait = wait.to_std().unwrap_or_default().max(SHORTEST);
            if Instant::now() + wait > deadline {
                break;
            }
            // Without a place among the calls in flight, which others can have meanwhile.
            sleep(wait).await;
            outcome = self.pass(provider, charge).await;
        }
        if outcome.is_ok() {
            note_admitted();
        }
        let waited = started.elapsed();
        let held_up = match &outcome {
            Err(_) => Some("refused"),
            // Less is the time of the question itself.
            Ok(_) if waited > Duration::from_millis(20) => Some("waited"),
            Ok(_) => None,
        };
        if let Some(outcome) = held_up {
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
        // What was counted when the call was admitted.
        let counted = u32::from(!charge.is_conditional);
        if let Some(policy) = self.policies.get(provider)
            && seen.spent > counted
        {
            self.spend(provider, policy, charge, seen.spent - counted)
                .await;
        }
        if seen.limit.is_some() || seen.remaining.is_some() {
            self.note_quota(provider, charge, &seen).await;
        }
        let Some(until) = block(seen, self.clock.0.now()) else {
            return;
        };
        let key = local::key(seen.reach, charge);
        self.remember_block(provider, key.clone(), until);
        match self.budget.block(provider, &key, until).await {
            Ok(()) => tracing::info!(
                provider,
                rate_limit.remaining = seen.remaining,
                rate_limit.blocked_until = %until,
                "the provider allows no call for a while"
            ),
            // The provider itself refuses calls until then, so nothing goes wrong unseen.
            Err(error) => tracing::warn!(
                provider,
                error = &error as &dyn std::error::Error,
                "failed to store until when the provider allows no call"
            ),
        }
    }
}

/// Until when an observation allows no call: what the provider asked for, or the window's end
/// when nothing is left in it.
fn block(seen: LimitObservation, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let window = seen.reset_at.filter(|_| seen.remaining == Some(0));
    let until = seen.blocked_until.max(window)?;
    (until > now).then(|| until.min(now + LONGEST_BLOCK))
}

#[cfg(test)]
mod tests;
