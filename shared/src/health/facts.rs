//! The stored facts that the health of a connection follows from.

use chrono::{DateTime, Utc};

use crate::model::{ConnectionStatus, JobError};

/// The stored facts of one connection, all read at the same time.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The time of the read.
    pub now: DateTime<Utc>,
    /// The provider's slug.
    pub provider: String,
    /// The status.
    pub status: ConnectionStatus,
    /// The reason for the status, a code of ours.
    pub status_reason: Option<String>,
    /// The name of the account, once the provider has named it.
    pub account_name: Option<String>,
    /// When the approval of a pending connection expires.
    pub approval_expires_at: Option<DateTime<Utc>>,
    /// The problem of the last read; `None` after a success.
    pub last_error: Option<JobError>,
    /// Whether the end of a rate limit is the end of the window of a quota.
    pub is_quota_spent: bool,
    /// Whether permission to read every stream, or to list them, is denied.
    pub is_all_denied: bool,
    /// Whether the backfill has ended.
    pub is_backfilled: bool,
    /// When the next read is overdue; `None` during the first one.
    pub overdue_at: Option<DateTime<Utc>>,
    /// When the grant ends, if no refresh extends it.
    pub grant_ends_at: Option<DateTime<Utc>>,
    /// When the first of the subscriptions that must exist expires.
    pub subscription_ends_at: Option<DateTime<Utc>>,
    /// When the last delivery arrived.
    pub last_delivery_at: Option<DateTime<Utc>>,
    /// The number of facts that reads found since then and that no delivery had reported.
    pub missed_since_delivery: i64,
    /// When a delivery to the app's URL was last rejected because of its signature.
    pub rejected_at: Option<DateTime<Utc>>,
    /// When a delivery to the connection's own URL was last rejected because of its signature.
    pub own_rejected_at: Option<DateTime<Utc>>,
}

impl Facts {
    /// The code of the last problem.
    pub(super) fn error_code(&self) -> Option<&str> {
        Some(self.last_error.as_ref()?.code.as_str())
    }

    /// Whether a delivery was rejected since the last one arrived.
    pub(super) fn is_rejected_since_delivery(&self, rejected_at: Option<DateTime<Utc>>) -> bool {
        rejected_at.is_some() && rejected_at > self.last_delivery_at
    }
}
