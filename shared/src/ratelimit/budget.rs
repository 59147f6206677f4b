//! The budget that all processes share: one row per account in Postgres.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;
use tokio::time::timeout;

use super::WHOLE_PROVIDER;
use super::local::emission;
use crate::connectors::{LimitScope, RateBudget};
use crate::db::Db;
use crate::ids::TenantId;

/// How long the question may take. Later the answer counts as no.
const ANSWER: Duration = Duration::from_secs(1);
/// The shortest wait before asking again, so that a race does not become a busy loop.
const SHORTEST: Duration = Duration::from_millis(10);

/// Takes one call from an account's budget, or says how long none will be there.
///
/// The generic cell rate algorithm: `tat`, the theoretical arrival time, is when the
/// account's calls so far would have come at an even pace. A call passes if that is at most
/// `burst - 1` paces ahead of now, and moves it one pace on. A blocked account or provider
/// passes nothing. All times are Postgres's, because the clocks of two workers disagree;
/// the row's lock puts simultaneous callers in order. A refusal changes nothing.
///
/// Served by the primary key of `rate_budgets (provider, account_id)`.
const TAKE: &str = "
    WITH taken AS (
        INSERT INTO rate_budgets AS own (provider, account_id, tat)
        SELECT $1, $2, clock_timestamp() + make_interval(secs => $3)
         WHERE NOT EXISTS (
               SELECT FROM rate_budgets
                WHERE provider = $1 AND account_id = $5
                  AND blocked_until > clock_timestamp())
        ON CONFLICT (provider, account_id) DO UPDATE
           SET tat = greatest(own.tat, clock_timestamp()) + make_interval(secs => $3)
         WHERE own.tat <= clock_timestamp() + make_interval(secs => $4)
           AND (own.blocked_until IS NULL OR own.blocked_until <= clock_timestamp())
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM taken) AS granted,
           extract(epoch FROM own.tat - clock_timestamp())::float8 - $4 AS pace_wait,
           extract(epoch FROM own.blocked_until - clock_timestamp())::float8 AS account_wait,
           extract(epoch FROM whole.blocked_until - clock_timestamp())::float8 AS provider_wait
      FROM (SELECT $1::text AS provider) asked
      LEFT JOIN rate_budgets own ON own.provider = asked.provider AND own.account_id = $2
      LEFT JOIN rate_budgets whole ON whole.provider = asked.provider AND whole.account_id = $5";

/// Keeps an account (or a whole provider) silent until a moment; never shortens a silence.
const BLOCK: &str = "
    INSERT INTO rate_budgets AS own (provider, account_id, tat, blocked_until)
    VALUES ($1, $2, clock_timestamp(), $3)
    ON CONFLICT (provider, account_id) DO UPDATE
       SET blocked_until = excluded.blocked_until
     WHERE own.blocked_until IS NULL OR own.blocked_until < excluded.blocked_until";

/// Takes more from an account's budget, whatever is left of it.
const SPEND: &str = "
    UPDATE rate_budgets
       SET tat = greatest(tat, clock_timestamp()) + make_interval(secs => $3)
     WHERE provider = $1 AND account_id = $2";

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

/// A tenant's share of a budget, as it is at the moment.
#[derive(Debug)]
pub(super) struct Share {
    provider: String,
    tenant: String,
    limit: RateBudget,
}

/// What the budget says to a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision {
    /// It may go out now.
    Granted,
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

    pub(super) async fn take(&self, provider: &str, account: &str, limit: &RateBudget) -> Decision {
        let pace = emission(limit).as_secs_f64();
        let question = sqlx::query(TAKE)
            .bind(provider)
            .bind(account)
            .bind(pace)
            .bind(pace * f64::from(limit.burst - 1))
            .bind(WHOLE_PROVIDER)
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

    /// The share of `limit` that a tenant has: an equal part among those who want one. `None`
    /// when the budget cannot be asked.
    pub(super) async fn share(
        &self,
        provider: &str,
        tenant: TenantId,
        limit: &RateBudget,
    ) -> Option<Share> {
        let (provider, tenant) = (format!("{provider} shares"), tenant.to_string());
        let question = sqlx::query_scalar::<_, i64>(SHARES)
            .bind(&provider)
            .bind(&tenant)
            .fetch_one(&self.db);
        match timeout(ANSWER, question).await {
            Ok(Ok(others)) => {
                let shares = u32::try_from(others).unwrap_or(u32::MAX - 1) + 1;
                let limit = RateBudget {
                    per_second: limit.per_second / f64::from(shares),
                    burst: (limit.burst / shares).max(1),
                    ..limit.clone()
                };
                Some(Share {
                    provider,
                    tenant,
                    limit,
                })
            }
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the shared rate budget cannot be asked");
                None
            }
            Err(_) => {
                tracing::warn!("the shared rate budget does not answer in time");
                None
            }
        }
    }

    /// Takes one call from a share.
    pub(super) async fn take_of(&self, share: &Share) -> Decision {
        self.take(&share.provider, &share.tenant, &share.limit)
            .await
    }

    /// Charges to a share what a call turned out to cost.
    pub(super) async fn spend_of(&self, share: &Share, units: u32) {
        self.spend(&share.provider, &share.tenant, &share.limit, units)
            .await;
    }

    /// Charges units that a call turned out to cost beyond the one it was admitted with. The
    /// budget goes into debt, and later calls wait it out.
    pub(super) async fn spend(
        &self,
        provider: &str,
        account: &str,
        limit: &RateBudget,
        units: u32,
    ) {
        let statement = sqlx::query(SPEND)
            .bind(provider)
            .bind(account)
            .bind(emission(limit).as_secs_f64() * f64::from(units))
            .execute(&self.db);
        if !matches!(timeout(ANSWER, statement).await, Ok(Ok(_))) {
            // The provider counts by itself and says when too much was used.
            tracing::warn!(provider, "what a call cost was not charged");
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
            .bind(account)
            .bind(until)
            .execute(&self.db);
        match timeout(ANSWER, statement).await {
            Ok(done) => done.map(|_| ()),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }
}

/// The row of [`TAKE`]. Waits are in seconds, as of the moment the statement began.
#[derive(Debug, Clone, Copy)]
struct Answer {
    /// Whom the budget concerns that was asked.
    reach: LimitScope,
    granted: bool,
    pace_wait: Option<f64>,
    account_wait: Option<f64>,
    provider_wait: Option<f64>,
}

impl Answer {
    fn from_row(row: &sqlx::postgres::PgRow, reach: LimitScope) -> Result<Self, sqlx::Error> {
        Ok(Self {
            reach,
            granted: row.try_get("granted")?,
            pace_wait: row.try_get("pace_wait")?,
            account_wait: row.try_get("account_wait")?,
            provider_wait: row.try_get("provider_wait")?,
        })
    }

    fn decision(self) -> Decision {
        if self.granted {
            return Decision::Granted;
        }
        let of_account = seconds(self.pace_wait).max(seconds(self.account_wait));
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
        granted: false,
        pace_wait: None,
        account_wait: None,
        provider_wait: None,
    };

    #[test]
    fn the_longest_of_the_reasons_to_wait_counts() {
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
        let whole = Answer {
            provider_wait: Some(90.0),
            ..blocked
        };
        assert_eq!(
            whole.decision(),
            Decision::Wait(Duration::from_secs(90), LimitScope::Provider)
        );
        assert_eq!(
            Answer {
                granted: true,
                ..whole
            }
            .decision(),
            Decision::Granted
        );
    }

    #[test]
    fn a_lost_race_asks_again_shortly() {
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
