//! The decision on a call: the row that `take.sql` returns, and what follows from it.

use std::time::Duration;

use sqlx::Row;

use crate::model::LimitScope;

/// The shortest wait before the next attempt, so that a race does not become a busy loop.
pub(super) const MIN_WAIT: Duration = Duration::from_millis(10);

/// The budget's response to a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision {
    /// The call is admitted after this wait.
    Granted(Duration),
    /// The call must wait this long before the next attempt.
    Wait(Duration, LimitScope),
    /// Postgres did not respond.
    Unavailable,
}

/// The row that `take.sql` returns. Waits are in seconds from the start of the statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct TakeRow {
    /// The scope of the budget.
    scope: LimitScope,
    granted_after: Option<f64>,
    exhausted_for: Option<f64>,
    pace_wait: Option<f64>,
    account_wait: Option<f64>,
    provider_wait: Option<f64>,
}

impl TakeRow {
    pub(super) fn from_row(
        row: &sqlx::postgres::PgRow,
        scope: LimitScope,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self {
            scope,
            granted_after: row.try_get("granted_after")?,
            exhausted_for: row.try_get("exhausted_for")?,
            pace_wait: row.try_get("pace_wait")?,
            account_wait: row.try_get("account_wait")?,
            provider_wait: row.try_get("provider_wait")?,
        })
    }

    pub(super) fn decision(self) -> Decision {
        if self.granted_after.is_some() {
            return Decision::Granted(seconds(self.granted_after));
        }
        let budget_wait = seconds(self.pace_wait)
            .max(seconds(self.account_wait))
            .max(seconds(self.exhausted_for));
        let provider_wait = seconds(self.provider_wait);
        if provider_wait > budget_wait {
            Decision::Wait(provider_wait.max(MIN_WAIT), LimitScope::Provider)
        } else {
            Decision::Wait(budget_wait.max(MIN_WAIT), self.scope)
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

    const NO_ROW: TakeRow = TakeRow {
        scope: LimitScope::Account,
        granted_after: None,
        exhausted_for: None,
        pace_wait: None,
        account_wait: None,
        provider_wait: None,
    };

    #[test]
    fn longest_wait_decides() {
        let rejected = TakeRow {
            pace_wait: Some(0.25),
            ..NO_ROW
        };
        assert_eq!(
            rejected.decision(),
            Decision::Wait(Duration::from_millis(250), LimitScope::Account)
        );
        let blocked = TakeRow {
            account_wait: Some(60.0),
            provider_wait: Some(-3.0),
            ..rejected
        };
        assert_eq!(
            blocked.decision(),
            Decision::Wait(Duration::from_mins(1), LimitScope::Account)
        );
        let exhausted = TakeRow {
            exhausted_for: Some(70.0),
            ..blocked
        };
        assert_eq!(
            exhausted.decision(),
            Decision::Wait(Duration::from_secs(70), LimitScope::Account)
        );
        let whole = TakeRow {
            provider_wait: Some(90.0),
            ..exhausted
        };
        assert_eq!(
            whole.decision(),
            Decision::Wait(Duration::from_secs(90), LimitScope::Provider)
        );
        assert_eq!(
            TakeRow {
                granted_after: Some(-0.5),
                ..whole
            }
            .decision(),
            Decision::Granted(Duration::ZERO)
        );
    }

    #[test]
    fn lost_race_retries_after_the_shortest_wait() {
        // The row was inserted after the statement began.
        assert_eq!(
            NO_ROW.decision(),
            Decision::Wait(MIN_WAIT, LimitScope::Account)
        );
        let past = TakeRow {
            pace_wait: Some(-5.0),
            ..NO_ROW
        };
        assert_eq!(
            past.decision(),
            Decision::Wait(MIN_WAIT, LimitScope::Account)
        );
    }
}
