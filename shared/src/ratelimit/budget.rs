//! The budget that all processes share: one row per account in Postgres.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;
use tokio::time::timeout;

use super::WHOLE_PROVIDER;
use super::local::fastest_pace;
use crate::connectors::{LimitScope, RateBudget, RateQuota, RateUnit};
use crate::db::{Db, storable};
use crate::http::{Charge, LimitObservation, Priority};
use crate::ids::TenantId;

/// How long the question may take. Later the answer counts as no.
const ANSWER: Duration = Duration::from_secs(1);
/// The part of a quota, or of the polls' part of it, that reconciliation leaves to polls, in whole
/// units: of the least quotas nothing, so that reconciliation has a unit as well.
const KEPT_FOR_POLLS: f64 = 0.3;
/// The shortest wait before asking again, so that a race does not become a busy loop.
pub(super) const SHORTEST: Duration = Duration::from_millis(10);

/// Takes one unit from a budget, or says how long none will be there.
const TAKE: &str = include_str!("take.sql");

/// Charges what a call turned out to cost, whatever is left.
const SPEND: &str = include_str!("spend.sql");

/// Writes down what an answer stated about a quota.
const OBSERVE: &str = include_str!("observe.sql");

/// Keeps an account (or a whole provider) silent until a moment; never shortens a silence.
const BLOCK: &str = "
    INSERT INTO rate_budgets AS own (provider, account_id, tat, blocked_until)
    VALUES ($1, $2, clock_timestamp(), $3)
    ON CONFLICT (provider, account_id) DO UPDATE
       SET blocked_until = excluded.blocked_until
     WHERE own.blocked_until IS NULL OR own.blocked_until < excluded.blocked_until";

/// Notes that a tenant asks for its share of a budget, and counts the shares: those of tenants
/// that have asked lately, and of those whose turn has not come again yet. Shares are kept
/// under a provider's name of their own, so that counting them reads nothing else.
const SHARES: &str = "
    WITH asked AS (
        INSERT INTO rate_budgets (provider, account_id, tat, asked_at)
        VALUES ($1, $2, clock_timestamp(), clock_timestamp())
        ON CONFLICT (provider, account_id) DO UPDATE SET asked_at = excluded.asked_at
    )
    SELECT count(*) FROM rate_budgets
     WHERE provider = $1 AND account_id <> $2
       AND (asked_at > clock_timestamp() - interval '30 seconds' OR tat > clock_timestamp())";

/// A row of the budgets, and the row that counts its quota.
#[derive(Debug, Clone)]
pub(super) struct BudgetRow {
    provider: String,
    account: String,
    /// Provider and account of the row that counts the quota.
    quota_row: (String, String),
    /// Among how many the pace is shared.
    shares: u32,
}

impl BudgetRow {
    /// A budget of its own.
    pub(super) fn new(provider: &str, account: &str) -> Self {
        let account = storable(account).into_owned();
        Self {
            provider: provider.to_owned(),
            account: account.clone(),
            quota_row: (provider.to_owned(), account),
            shares: 1,
        }
    }
}

/// What the budget says to a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision {
    /// It may go out after this wait, without asking again.
    Granted(Duration),
    /// Not before this time has passed.
    Wait(Duration, LimitScope),
    /// The budget cannot be asked.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Budget {
    db: Db,
}

impl Budget {
    pub(super) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// Takes a unit; waits up to `longest` are granted.
    pub(super) async fn take(
        &self,
        row: &BudgetRow,
        limit: &RateBudget,
        charge: &Charge<'_>,
        longest: Duration,
    ) -> Decision {
        let pace = fastest_pace(limit);
        let tolerance = pace * (limit.burst - 1);
        let quota = limit.quota.as_ref();
        let question = sqlx::query(TAKE)
            .bind(&row.provider)
            .bind(&row.account)
            .bind(&row.quota_row.0)
            .bind(&row.quota_row.1)
            .bind(WHOLE_PROVIDER)
            .bind(pace.as_secs_f64())
            .bind(tolerance.as_secs_f64())
            .bind(longest.as_secs_f64())
            .bind(f64::from(row.shares))
            .bind(class(charge.priority))
            .bind(quota.map(|quota| i64::from(quota.units)))
            .bind(quota.map(|quota| quota.window.as_secs_f64()))
            .bind(quota.map(|quota| reserve(quota, charge.priority)))
            .bind(quota.and_then(|quota| poll_share(quota, charge.priority)))
            .bind(i32::from(!charge.is_conditional))
            .fetch_one(&self.db);
        let answer = match timeout(ANSWER, question).await {
            Ok(Ok(row)) => Answer::from_row(&row, limit.reach),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                tracing::warn!("the shared rate budget does not answer in time");
                return Decision::Unknown;
            }
        };
        match answer {
            Ok(answer) => answer.decision(),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the shared rate budget cannot be asked");
                Decision::Unknown
            }
        }
    }

    /// A tenant's share of what all accounts of a provider have together: an equal part among
    /// those who want one. `None` when the budget cannot be asked.
    pub(super) async fn share(&self, provider: &str, tenant: TenantId) -> Option<BudgetRow> {
        let (shares_of, tenant) = (format!("{provider} shares"), tenant.to_string());
        let question = sqlx::query_scalar::<_, i64>(SHARES)
            .bind(&shares_of)
            .bind(&tenant)
            .fetch_one(&self.db);
        match timeout(ANSWER, question).await {
            Ok(Ok(others)) => Some(BudgetRow {
                provider: shares_of,
                account: tenant,
                quota_row: (provider.to_owned(), WHOLE_PROVIDER.to_owned()),
                shares: u32::try_from(others).unwrap_or(u32::MAX - 1) + 1,
            }),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the shares of a rate budget cannot be asked");
                None
            }
            Err(_) => {
                tracing::warn!("the shares of a rate budget are not told in time");
                None
            }
        }
    }

    /// Charges units that a call turned out to cost beyond the one it was admitted with. The
    /// budget goes into debt, and later calls wait it out.
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
        if !matches!(timeout(ANSWER, statement).await, Ok(Ok(_))) {
            // The provider counts by itself and says when too much was used.
            tracing::warn!(
                provider = row.provider,
                "failed to charge the cost of a call"
            );
        }
    }

    /// Writes down what an answer stated about a quota.
    pub(super) async fn observe(&self, row: &BudgetRow, seen: &LimitObservation) {
        let number = |units: Option<u64>| units.and_then(|units| i64::try_from(units).ok());
        let statement = sqlx::query(OBSERVE)
            .bind(&row.provider)
            .bind(&row.account)
            .bind(number(seen.limit))
            .bind(number(seen.remaining))
            .bind(seen.reset_at)
            .execute(&self.db);
        if !matches!(timeout(ANSWER, statement).await, Ok(Ok(_))) {
            tracing::warn!(
                provider = row.provider,
                "failed to store what the provider stated about its quota"
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
            .bind(storable(account))
            .bind(until)
            .execute(&self.db);
        match timeout(ANSWER, statement).await {
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

/// The part of a quota that calls of a priority leave alone.
fn reserve(quota: &RateQuota, priority: Priority) -> f64 {
    match priority {
        Priority::Reconciliation => {
            let units = f64::from(quota.units);
            quota.reserve.max(kept_for_polls(units) / units)
        }
        _ => quota.reserve,
    }
}

/// The part of a quota after which polls and reconciliation together have had theirs.
fn poll_share(quota: &RateQuota, priority: Priority) -> Option<f64> {
    let share = quota.poll_share?;
    match priority {
        Priority::Reconciliation => {
            let units = f64::from(quota.units);
            Some(share - kept_for_polls(units * share) / units)
        }
        _ => Some(share),
    }
}

/// How many of so many units reconciliation leaves to polls.
fn kept_for_polls(units: f64) -> f64 {
    (units * KEPT_FOR_POLLS).floor()
}

/// The row of [`TAKE`]. Waits are in seconds, as of the moment the statement began.
#[derive(Debug, Clone, Copy)]
struct Answer {
    /// Whom the budget concerns that was asked.
    reach: LimitScope,
    granted_after: Option<f64>,
    exhausted_for: Option<f64>,
    pace_wait: Option<f64>,
    account_wait: Option<f64>,
    provider_wait: Option<f64>,
}

impl Answer {
    fn from_row(row: &sqlx::postgres::PgRow, reach: LimitScope) -> Result<Self, sqlx::Error> {
        Ok(Self {
            reach,
            granted_after: row.try_get("granted_after")?,
            exhausted_for: row.try_get("exhausted_for")?,
            pace_wait: row.try_get("pace_wait")?,
            account_wait: row.try_get("account_wait")?,
            provider_wait: row.try_get("provider_wait")?,
        })
    }

    fn decision(self) -> Decision {
        if self.granted_after.is_some() {
            return Decision::Granted(seconds(self.granted_after));
        }
        let of_account = seconds(self.pace_wait)
            .max(seconds(self.account_wait))
            .max(seconds(self.exhausted_for));
        let of_provider = seconds(self.provider_wait);
        if of_provider > of_account {
            Decision::Wait(of_provider.max(SHORTEST), LimitScope::Provider)
        } else {
            Decision::Wait(of_account.max(SHORTEST), self.reach)
        }
    }
}

fn seconds(wait: Option<f64>) -> Duration {
    wait.and_then(|wait| Duration::try_from_secs_f64(wait).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Answer = Answer {
        reach: LimitScope::Account,
        granted_after: None,
        exhausted_for: None,
        pace_wait: None,
        account_wait: None,
        provider_wait: None,
    };

    #[test]
    fn longest_reason_to_wait_counts() {
        let refused = Answer {
            pace_wait: Some(0.25),
            ..UNKNOWN
        };
        assert_eq!(
            refused.decision(),
            Decision::Wait(Duration::from_millis(250), LimitScope::Account)
        );
        let blocked = Answer {
            account_wait: Some(60.0),
            provider_wait: Some(-3.0),
            ..refused
        };
        assert_eq!(
            blocked.decision(),
            Decision::Wait(Duration::from_mins(1), LimitScope::Account)
        );
        let exhausted = Answer {
            exhausted_for: Some(70.0),
            ..blocked
        };
        assert_eq!(
            exhausted.decision(),
            Decision::Wait(Duration::from_secs(70), LimitScope::Account)
        );
        let whole = Answer {
            provider_wait: Some(90.0),
            ..exhausted
        };
        assert_eq!(
            whole.decision(),
            Decision::Wait(Duration::from_secs(90), LimitScope::Provider)
        );
        assert_eq!(
            Answer {
                granted_after: Some(-0.5),
                ..whole
            }
            .decision(),
            Decision::Granted(Duration::ZERO)
        );
    }

    #[test]
    fn reconciliation_has_a_unit_of_the_least_quota() {
        let quota = |units, poll_share| RateQuota {
            units,
            window: Duration::from_mins(1),
            reserve: 0.0,
            poll_share,
        };
        // Units of a quota, and how many of them are for the pass.
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
            // The same where polls have half of the quota.
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

    #[test]
    fn lost_race_asks_again_shortly() {
        // The row came into being after the statement began.
        assert_eq!(
            UNKNOWN.decision(),
            Decision::Wait(SHORTEST, LimitScope::Account)
        );
        let past = Answer {
            pace_wait: Some(-5.0),
            ..UNKNOWN
        };
        assert_eq!(
            past.decision(),
            Decision::Wait(SHORTEST, LimitScope::Account)
        );
    }
}
