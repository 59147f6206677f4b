//! The shared budget: one row per account in Postgres.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::WHOLE_PROVIDER;
use super::decision::{Decision, TakeRow};
use super::local::fastest_pace;
use crate::connectors::{RateBudget, RateQuota, RateUnit};
use crate::db::{Db, sanitize};
use crate::http::{Charge, LimitObservation, Priority};
use crate::model::TenantId;

/// The timeout of a query; after it the call is rejected.
const QUERY_TIMEOUT: Duration = Duration::from_secs(1);
/// The fraction of a quota, or of the polls' share, that reconciliation leaves to polls.
///
/// It is rounded down to whole units, so that reconciliation can use the smallest quotas.
const POLL_FRACTION: f64 = 0.3;

/// Takes one unit from a budget, or returns the reasons to wait.
const TAKE: &str = include_str!("take.sql");

/// Charges the actual cost of a call, even beyond the budget.
const SPEND: &str = include_str!("spend.sql");

/// Stores the quota that a response stated.
const OBSERVE: &str = include_str!("observe.sql");

/// Blocks an account, or a whole provider, until a time; never shortens a block.
const BLOCK: &str = "
    INSERT INTO rate_budgets AS own (provider, account_id, tat, blocked_until)
    VALUES ($1, $2, clock_timestamp(), $3)
    ON CONFLICT (provider, account_id) DO UPDATE
       SET blocked_until = excluded.blocked_until
     WHERE own.blocked_until IS NULL OR own.blocked_until < excluded.blocked_until";

/// Records that a tenant requests its share of a budget, and counts the other shares.
///
/// A share counts if its tenant requested it recently or still waits for its next unit. Shares have
/// a provider name of their own, so that the count reads no other rows.
const SHARES: &str = "
    WITH request AS (
        INSERT INTO rate_budgets (provider, account_id, tat, share_requested_at)
        VALUES ($1, $2, clock_timestamp(), clock_timestamp())
        ON CONFLICT (provider, account_id) DO UPDATE SET share_requested_at = excluded.share_requested_at
    )
    SELECT count(*) FROM rate_budgets
     WHERE provider = $1 AND account_id <> $2
       AND (share_requested_at > clock_timestamp() - interval '30 seconds' OR tat > clock_timestamp())";

/// A row of the budgets, and the row that counts its quota.
#[derive(Debug, Clone)]
pub(super) struct BudgetRow {
    provider: String,
    account: String,
    /// Provider and account of the row that counts the quota.
    quota_row: (String, String),
    /// The number of tenants that share the pace.
    shares: u32,
}

impl BudgetRow {
    /// The row of a budget that is not shared among tenants.
    pub(super) fn new(provider: &str, account: &str) -> Self {
        let account = sanitize(account).into_owned();
        Self {
            provider: provider.to_owned(),
            account: account.clone(),
            quota_row: (provider.to_owned(), account),
            shares: 1,
        }
    }
}

/// The budgets in Postgres.
#[derive(Debug)]
pub(super) struct SharedBudget {
    db: Db,
}

impl SharedBudget {
    pub(super) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// Takes a unit that may be used within `max_wait`.
    pub(super) async fn take(
        &self,
        row: &BudgetRow,
        limit: &RateBudget,
        charge: &Charge<'_>,
        max_wait: Duration,
    ) -> Decision {
        let pace = fastest_pace(limit);
        let tolerance = pace * (limit.burst - 1) + limit.slack;
        let quota = limit.quota.as_ref();
        let query = sqlx::query(TAKE)
            .bind(&row.provider)
            .bind(&row.account)
            .bind(&row.quota_row.0)
            .bind(&row.quota_row.1)
            .bind(WHOLE_PROVIDER)
            .bind(pace.as_secs_f64())
            .bind(tolerance.as_secs_f64())
            .bind(max_wait.as_secs_f64())
            .bind(f64::from(row.shares))
            .bind(class(charge.priority))
            .bind(quota.map(|quota| i64::from(quota.units)))
            .bind(quota.map(|quota| quota.window.as_secs_f64()))
            .bind(quota.map(|quota| reserve(quota, charge.priority)))
            .bind(quota.and_then(|quota| poll_share(quota, charge.priority)))
            .bind(i32::from(!charge.is_conditional))
            .fetch_one(&self.db);
        let result = match timeout(QUERY_TIMEOUT, query).await {
            Ok(Ok(row)) => TakeRow::from_row(&row, limit.scope),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                tracing::warn!("rate budget query timed out");
                return Decision::Unavailable;
            }
        };
        match result {
            Ok(row) => row.decision(),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "failed to query the rate budget");
                Decision::Unavailable
            }
        }
    }

    /// The row of a tenant's equal share of a provider's budget.
    ///
    /// `None` if Postgres does not respond.
    pub(super) async fn share(&self, provider: &str, tenant: TenantId) -> Option<BudgetRow> {
        let (shares_provider, tenant) = (format!("{provider} shares"), tenant.to_string());
        let query = sqlx::query_scalar::<_, i64>(SHARES)
            .bind(&shares_provider)
            .bind(&tenant)
            .fetch_one(&self.db);
        match timeout(QUERY_TIMEOUT, query).await {
            Ok(Ok(others)) => Some(BudgetRow {
                provider: shares_provider,
                account: tenant,
                quota_row: (provider.to_owned(), WHOLE_PROVIDER.to_owned()),
                shares: u32::try_from(others).unwrap_or(u32::MAX - 1) + 1,
            }),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "failed to query the shares of a rate budget");
                None
            }
            Err(_) => {
                tracing::warn!("query of the shares of a rate budget timed out");
                None
            }
        }
    }

    /// Charges units beyond the one that was counted on admission.
    ///
    /// The budget may go into debt, which later calls wait for.
    pub(super) async fn spend(
        &self,
        row: &BudgetRow,
        limit: &RateBudget,
        priority: Priority,
        units: u32,
    ) {
        let quota = limit.quota.as_ref();
        let statement = sqlx::query(SPEND)
            .bind(&row.provider)
            .bind(&row.account)
            .bind(&row.quota_row.0)
            .bind(&row.quota_row.1)
            .bind(fastest_pace(limit).as_secs_f64())
            .bind(f64::from(row.shares))
            .bind(class(priority))
            .bind(quota.map(|quota| i64::from(quota.units)))
            .bind(quota.map(|quota| reserve(quota, priority)))
            .bind(quota.and_then(|quota| poll_share(quota, priority)))
            .bind(i64::from(units))
            .bind(limit.unit == RateUnit::Points)
            .execute(&self.db);
        if !matches!(timeout(QUERY_TIMEOUT, statement).await, Ok(Ok(_))) {
            // The provider counts too, and rejects calls beyond its limit.
            tracing::warn!(
                provider = row.provider,
                "failed to charge the cost of a call"
            );
        }
    }

    /// Stores the quota that a response stated.
    pub(super) async fn observe(&self, row: &BudgetRow, seen: &LimitObservation) {
        let number = |units: Option<u64>| units.and_then(|units| i64::try_from(units).ok());
        let statement = sqlx::query(OBSERVE)
            .bind(&row.provider)
            .bind(&row.account)
            .bind(number(seen.limit))
            .bind(number(seen.remaining))
            .bind(seen.reset_at)
            .execute(&self.db);
        if !matches!(timeout(QUERY_TIMEOUT, statement).await, Ok(Ok(_))) {
            tracing::warn!(
                provider = row.provider,
                "failed to store the quota that the provider stated"
            );
        }
    }

    pub(super) async fn block(
        &self,
        provider: &str,
        account: &str,
        until: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        let statement = sqlx::query(BLOCK)
            .bind(provider)
            .bind(sanitize(account))
            .bind(until)
            .execute(&self.db);
        match timeout(QUERY_TIMEOUT, statement).await {
            Ok(done) => done.map(|_| ()),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }
}

const fn class(priority: Priority) -> i32 {
    match priority {
        Priority::Immediate => 0,
        Priority::Poll | Priority::Reconciliation => 1,
        Priority::Backfill(_) => 2,
    }
}

/// The fraction of a quota that calls of a priority do not use.
fn reserve(quota: &RateQuota, priority: Priority) -> f64 {
    match priority {
        Priority::Reconciliation => {
            let units = f64::from(quota.units);
            quota.reserve.max(units_for_polls(units) / units)
        }
        _ => quota.reserve,
    }
}

/// The fraction of a quota that polls and reconciliation may use together.
fn poll_share(quota: &RateQuota, priority: Priority) -> Option<f64> {
    let share = quota.poll_share?;
    match priority {
        Priority::Reconciliation => {
            let units = f64::from(quota.units);
            Some(share - units_for_polls(units * share) / units)
        }
        _ => Some(share),
    }
}

/// The number of these units that reconciliation leaves to polls.
fn units_for_polls(units: f64) -> f64 {
    (units * POLL_FRACTION).floor()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconciliation_may_use_the_smallest_quota() {
        let quota = |units, poll_share| RateQuota {
            units,
            window: Duration::from_mins(1),
            reserve: 0.0,
            poll_share,
        };
        // Units of a quota, and how many of them reconciliation may use.
        for (units, usable) in [
            (1, 1.0),
            (2, 2.0),
            (3, 3.0),
            (4, 3.0),
            (10, 7.0),
            (50, 35.0),
        ] {
            let of_all = quota(units, None);
            let left = f64::from(units) * (1.0 - reserve(&of_all, Priority::Reconciliation));
            assert!((left - usable).abs() < 1e-6, "{left} of {units}");
            assert_eq!(poll_share(&of_all, Priority::Reconciliation), None);
            // Polls may use half of the quota.
            let of_polls = quota(units * 2, Some(0.5));
            let share = poll_share(&of_polls, Priority::Reconciliation).expect("a share");
            let left = f64::from(units * 2) * share;
            assert!((left - usable).abs() < 1e-6, "{left} of {units}");
        }
        let with_reserve = RateQuota {
            reserve: 0.4,
            ..quota(1_000, None)
        };
        let kept = reserve(&with_reserve, Priority::Reconciliation);
        assert!((kept - 0.4).abs() < 1e-9, "{kept}");
    }
}
