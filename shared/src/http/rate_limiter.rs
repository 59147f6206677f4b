//! The interface of the rate limiter that admits every outbound call.

use std::cell::Cell;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::model::{LimitScope, TenantId};

/// The maximum total wait of all calls of a page but the first.
const PAGE_MAX_WAIT: Duration = Duration::from_mins(10);

tokio::task_local! {
    /// The time at which the first call of the current page was admitted.
    static PAGE_STARTED_AT: Cell<Option<Instant>>;
    /// The operation of the last admitted call of the current page.
    static LAST_OPERATION: Cell<Option<&'static str>>;
}

/// Runs the calls of one page, and returns the operation of the last one with their result.
///
/// After the first call, the others wait longer than calls usually do: if one gave up, the earlier
/// ones would have to be repeated.
pub async fn with_page_deadline<F: Future>(calls: F) -> (F::Output, Option<&'static str>) {
    let calls = PAGE_STARTED_AT.scope(Cell::new(None), calls);
    let named = async { (calls.await, LAST_OPERATION.with(Cell::get)) };
    LAST_OPERATION.scope(Cell::new(None), named).await
}

/// The time until which a call of the current page may wait; `None` before its first call.
pub fn page_deadline() -> Option<Instant> {
    let started_at = PAGE_STARTED_AT.try_with(Cell::get).ok().flatten()?;
    Some(started_at + PAGE_MAX_WAIT)
}

/// Records that a call was admitted, which starts the current page if it is the first.
pub fn record_admission(operation: &'static str) {
    let name = |cell: &Cell<Option<&'static str>>| cell.set(Some(operation));
    LAST_OPERATION.try_with(name).unwrap_or_default();
    let start = |cell: &Cell<Option<Instant>>| cell.set(cell.get().or(Some(Instant::now())));
    // Outside of `with_page_deadline` there is nothing to record.
    PAGE_STARTED_AT.try_with(start).unwrap_or_default();
}

/// Admits calls to providers, for all processes together.
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Waits for a permit.
    ///
    /// A short wait is slept through. A long one is rejected with the time of the next attempt, so
    /// that the job frees its slot.
    async fn admit(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
    ) -> Result<Permit, RateLimited>;

    /// Records the limits that a response of the provider stated.
    async fn observe(&self, provider: &'static str, charge: &Charge<'_>, seen: LimitObservation);
}

/// The account, operation and priority that a call is charged to.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The provider's account.
    pub account: &'a str,
    /// A fixed name, such as `list_issues`.
    pub operation: &'static str,
    /// The urgency of the call.
    pub priority: Priority,
    /// Whether the provider may charge nothing for it, as for an unchanged resource.
    ///
    /// The quota then counts it when its response arrives, not when it is admitted.
    pub is_conditional: bool,
}

/// The urgency of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A person or a delivery waits for it: it is not slowed down until the quota is used up.
    Immediate,
    /// A scheduled poll, which does not use the quota's reserve.
    Poll,
    /// A reconciliation pass, which leaves a part of the quota to polls.
    Reconciliation,
    /// A backfill for a tenant, which does not use the reserve.
    ///
    /// Tenants that backfill at the same time get equal shares of the provider's quota.
    Backfill(TenantId),
}

impl Priority {
    /// Whether the call belongs to a backfill.
    pub const fn is_backfill(self) -> bool {
        matches!(self, Self::Backfill(_))
    }
}

impl<'a> Charge<'a> {
    /// A call of immediate priority.
    pub const fn new(account: &'a str, operation: &'static str) -> Self {
        Self {
            account,
            operation,
            priority: Priority::Immediate,
            is_conditional: false,
        }
    }
}

/// The permit of a call in flight; released when dropped.
#[derive(Debug, Default)]
pub struct Permit(#[expect(dead_code, reason = "held until dropped")] Vec<OwnedSemaphorePermit>);

impl Permit {
    /// A permit that holds these semaphore permits.
    pub const fn new(permits: Vec<OwnedSemaphorePermit>) -> Self {
        Self(permits)
    }
}

/// The error of a call that was not admitted.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("rate limit allows no call before {retry_at}")]
pub struct RateLimited {
    /// The earliest time of another attempt.
    pub retry_at: DateTime<Utc>,
    /// The scope of the limit.
    pub scope: LimitScope,
    /// The rejected operation.
    pub operation: &'static str,
}

/// A provider's limit as stated by the headers of a response.
#[derive(Debug, Clone, Copy)]
pub struct LimitObservation {
    /// The calls that it limits.
    pub scope: LimitScope,
    /// The cost of the call in units.
    ///
    /// It is more than one if the provider counts points, and 0 for an unchanged resource if
    /// the provider charges nothing for it.
    pub spent: u32,
    /// Units in the whole window.
    pub limit: Option<u64>,
    /// Units left in the window.
    pub remaining: Option<u64>,
    /// The end of the window.
    pub reset_at: Option<DateTime<Utc>>,
    /// The time before which the provider allows no call.
    pub blocked_until: Option<DateTime<Utc>>,
}

impl Default for LimitObservation {
    fn default() -> Self {
        Self {
            scope: LimitScope::Account,
            spent: 1,
            limit: None,
            remaining: None,
            reset_at: None,
            blocked_until: None,
        }
    }
}
