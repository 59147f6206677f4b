//! Rate limits: who may call a provider, and when.
//!
//! A call passes three locks. Semaphores bound the calls in flight per account and per
//! process; a local limiter (the `governor` crate) keeps most waiting away from Postgres;
//! and the shared budget in Postgres, in Postgres's time, holds one account's rate for all
//! workers together and carries what providers said about their limits. Without Postgres
//! no call goes out.
//!
//! What all tenants have together for reading the past is divided: each that wants some has an
//! equal share, so that a long backfill takes nothing from a short one.

mod budget;
mod local;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep, timeout_at};

use self::budget::{Budget, Decision};
use self::local::Policy;
use crate::clock::SharedClock;
use crate::connectors::{LimitScope, RateBudget, RateLimits, RateUnit};
use crate::db::Db;
use crate::http::{Admission, Charge, LimitObservation, RateGate, Refused};
use crate::ids::TenantId;
use crate::telemetry::names;

/// The account under which a block of the whole provider is kept.
pub const WHOLE_PROVIDER: &str = "*";

/// The longest wait that is slept through; a job that would wait longer gives its slot to
/// another.
const PATIENCE: Duration = Duration::from_secs(2);
/// When to come back if it is not known how long something takes.
const SOON: Duration = Duration::from_secs(1);
/// What a provider's headers may block at the most. A provider that names a moment years
/// away must not end a connection.
const LONGEST_BLOCK: TimeDelta = TimeDelta::hours(24);

/// The gate of all providers.
#[derive(Debug)]
pub struct Governor {
    budget: Budget,
    clock: SharedDebug,
    policies: HashMap<&'static str, Policy>,
    patience: Duration,
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
        }
    }

    fn refuse(&self, after: Duration, scope: LimitScope) -> Refused {
        let after = TimeDelta::from_std(after).unwrap_or(LONGEST_BLOCK);
        Refused {
            retry_at: self.clock.0.now() + after,
            scope,
        }
    }

    async fn pass(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
    ) -> Result<Admission, Refused> {
        let soon = || self.refuse(SOON, LimitScope::Account);
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
            let (key, limit) = (budget.key(charge), &budget.limit);
            if let Some(tenant) = budget.share_of(charge) {
                self.take_share(provider, tenant, limit, until).await?;
            }
            while let Err(wait) = policy.check(budget, &key) {
                self.wait(wait, until, limit.reach).await?;
            }
            loop {
                match self.budget.take(provider, &key, limit).await {
                    Decision::Granted => break,
                    Decision::Wait(wait, scope) => self.wait(wait, until, scope).await?,
                    Decision::Unknown => return Err(soon()),
                }
            }
        }
        Ok(Admission::new(
            of_account.into_iter().chain(of_process).collect(),
        ))
    }

    /// Waits for the tenant's turn among those who share a budget.
    async fn take_share(
        &self,
        provider: &'static str,
        tenant: TenantId,
        limit: &RateBudget,
        until: Instant,
    ) -> Result<(), Refused> {
        loop {
            let Some(share) = self.budget.share(provider, tenant, limit).await else {
                return Err(self.refuse(SOON, LimitScope::Provider));
            };
            match self.budget.take_of(&share).await {
                Decision::Granted => return Ok(()),
                Decision::Wait(wait, _) => self.wait(wait, until, LimitScope::Provider).await?,
                Decision::Unknown => return Err(self.refuse(SOON, LimitScope::Provider)),
            }
        }
    }

    /// Sleeps, unless that would take longer than is left.
    async fn wait(&self, wait: Duration, until: Instant, scope: LimitScope) -> Result<(), Refused> {
        if Instant::now() + wait > until {
            return Err(self.refuse(wait, scope));
        }
        sleep(wait).await;
        Ok(())
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
        let outcome = self.pass(provider, charge).await;
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
        if let (Some(policy), 2..) = (self.policies.get(provider), seen.spent) {
            let in_points = policy
                .budgets(charge)
                .filter(|budget| budget.limit.unit == RateUnit::Points);
            for budget in in_points {
                // One unit was taken when the call was admitted.
                let more = seen.spent - 1;
                if let Some(tenant) = budget.share_of(charge)
                    && let Some(share) = self.budget.share(provider, tenant, &budget.limit).await
                {
                    self.budget.spend_of(&share, more).await;
                }
                self.budget
                    .spend(provider, &budget.key(charge), &budget.limit, more)
                    .await;
            }
        }
        let Some(until) = block(seen, self.clock.0.now()) else {
            return;
        };
        match self
            .budget
            .block(provider, &local::key(seen.reach, charge), until)
            .await
        {
            Ok(()) => tracing::info!(
                provider,
                rate_limit.remaining = seen.remaining,
                rate_limit.blocked_until = %until,
                "the provider's limit is near: calls pause"
            ),
            // The provider itself refuses calls until then, so nothing goes wrong unseen.
            Err(error) => tracing::warn!(
                provider,
                error = &error as &dyn std::error::Error,
                "a pause that the provider asked for was not stored"
            ),
        }
    }
}

/// Until when an observation asks for silence. Under a tenth of the window's calls left,
/// the rest is kept for what cannot wait.
fn block(seen: LimitObservation, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let scarce = match (seen.limit, seen.remaining) {
        (Some(limit), Some(remaining)) => remaining.saturating_mul(10) < limit,
        (None, Some(remaining)) => remaining == 0,
        (_, None) => false,
    };
    let window = seen.reset_at.filter(|_| scarce);
    let until = seen.blocked_until.max(window)?;
    (until > now).then(|| until.min(now + LONGEST_BLOCK))
}

#[cfg(test)]
mod tests;
