//! The reason why a connection's completeness does not advance, and its SQL.

use serde::Serialize;
use utoipa::ToSchema;

use super::ConnectionStatus;

/// The reason why a connection is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Behind {
    /// An administrator at the provider must approve the app first.
    AwaitingApproval,
    /// The backfill is running.
    Backfilling,
    /// An operator or the tenant paused it.
    Paused,
    /// The provider suspended the app.
    Suspended,
    /// The grant is no longer valid; a person must connect the account again.
    NeedsReauth,
    /// It has ended.
    Disconnected,
    /// The provider limits the rate of calls.
    RateLimited,
    /// The provider denies permission to read a part of it.
    Denied,
    /// The last read failed and will be retried.
    Failing,
    /// The next read is overdue: workers are down or busy.
    Overdue,
    /// It was read, but an open transaction holds the feed's watermark back.
    HeldBack,
}

impl Behind {
    /// Derives the reason; `None` when the connection's completeness advances.
    ///
    /// `error` is the code of the last error; the flags come from the SQL expressions below.
    pub(crate) fn from_state(
        status: ConnectionStatus,
        error: Option<&str>,
        is_backfilled: bool,
        is_overdue: bool,
        is_held_back: bool,
    ) -> Option<Self> {
        match status {
            ConnectionStatus::Pending => return Some(Self::AwaitingApproval),
            ConnectionStatus::Paused => return Some(Self::Paused),
            ConnectionStatus::Suspended => return Some(Self::Suspended),
            ConnectionStatus::NeedsReauth => return Some(Self::NeedsReauth),
            ConnectionStatus::Disconnected => return Some(Self::Disconnected),
            ConnectionStatus::Active => {}
        }
        match error {
            Some("rate_limited") => Some(Self::RateLimited),
            Some("permission") => Some(Self::Denied),
            Some(_) => Some(Self::Failing),
            None if !is_backfilled => Some(Self::Backfilling),
            None if is_overdue => Some(Self::Overdue),
            None if is_held_back => Some(Self::HeldBack),
            None => None,
        }
    }
}

/// SQL: a time of a connection that readers may rely on.
///
/// It is the current value once the transaction that wrote it is below the feed's watermark, and
/// the previous value until then.
macro_rules! below_watermark {
    ($current:literal, $previous:literal) => {
        concat!(
            "CASE WHEN complete_tx < pg_snapshot_xmin(pg_current_snapshot()) THEN ",
            $current,
            " ELSE ",
            $previous,
            " END"
        )
    };
}
pub(crate) use below_watermark;

/// SQL: whether the next read of a row of `connections` is overdue.
///
/// `$table` is the table's alias with its dot, or empty.
macro_rules! is_overdue {
    ($table:literal) => {
        concat!(
            "coalesce(",
            $table,
            "last_sync_at < now() - interval '1 minute' - 2 * greatest(",
            $table,
            "poll_interval_seconds, ",
            $table,
            "run_seconds * 1.25) * interval '1 second', false)"
        )
    };
}
pub(crate) use is_overdue;

/// SQL: whether the last read of a row of `connections` is not yet below the feed's watermark.
macro_rules! is_held_back {
    ($table:literal) => {
        concat!(
            "coalesce(",
            $table,
            "complete_tx >= pg_snapshot_xmin(pg_current_snapshot()), false)"
        )
    };
}
pub(crate) use is_held_back;

/// SQL: whether [`Behind::from_state`] returns a reason for a row of `connections`.
macro_rules! is_behind {
    ($table:literal) => {
        concat!(
            "(",
            $table,
            "status <> 'active' OR ",
            $table,
            "last_error ->> 'code' IS NOT NULL OR ",
            $table,
            "backfilled_at IS NULL OR ",
            $crate::db::connections::is_overdue!($table),
            " OR ",
            $crate::db::connections::is_held_back!($table),
            ")"
        )
    };
}
pub(crate) use is_behind;
