//! The gate every outbound call passes: who may call a provider, and when.

use std::cell::Cell;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::connectors::LimitScope;
use crate::ids::TenantId;

/// How long the calls behind a page's first one may take to be admitted, all together.
const PAGE_PATIENCE: Duration = Duration::from_mins(10);

tokio::task_local! {
    /// When the first call of the present page was admitted.
    static PAGE_BEGUN: Cell<Option<Instant>>;
}

/// Makes the calls of one page. Once the first was admitted, the others wait longer than calls
/// usually do: if one gave up, all before it would have to be made again.
pub async fn page<F: Future>(calls: F) -> F::Output {
    PAGE_BEGUN.scope(Cell::new(None), calls).await
}

/// Until when a call may wait that belongs to a page, if that has begun.
pub fn page_deadline() -> Option<Instant> {
    let begun = PAGE_BEGUN.try_with(Cell::get).ok().flatten()?;
    Some(begun + PAGE_PATIENCE)
}

/// Notes that a call was admitted, which may be the first of a page.
pub fn note_admitted() {
    let note = |begun: &Cell<Option<Instant>>| begun.set(begun.get().or(Some(Instant::now())));
    // Most calls belong to no page.
    PAGE_BEGUN.try_with(note).unwrap_or_default();
}

/// Decides when a call may go out, for all processes together.
#[async_trait]
pub trait RateGate: Send + Sync {
    /// Waits for a place. Short waits are slept through; a long one is refused with the
    /// moment to come back at, so that a job gives its slot to another.
    async fn admit(
        &self,
        provider: &'static str,
        charge: &Charge<'_>,
    ) -> Result<Admission, Refused>;

    /// Takes in what the provider's answer said about its limits.
    async fn observe(&self, provider: &'static str, charge: &Charge<'_>, seen: LimitObservation);
}

/// Whom a call is charged to.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The account it is made for.
    pub account: &'a str,
    /// What it does: a fixed word, such as `list_issues`.
    pub operation: &'static str,
    /// How long it can wait.
    pub priority: Priority,
    /// Whether the provider may charge nothing for it, as for an answer that has not changed. It
    /// is then counted against the quota by its answer, and by nothing before.
    pub is_conditional: bool,
}

/// How long a call can wait for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A person or a delivery waits for it. It is not slowed down before the quota is used up.
    Immediate,
    /// A scheduled poll: it leaves the quota's reserve alone.
    Poll,
    /// A read of what was read before. It leaves a part of the quota to polls.
    Reconciliation,
    /// A read of the past for a tenant. It leaves the reserve alone, too; tenants that read
    /// theirs at the same time get equal shares of what all have together.
    Backfill(TenantId),
}

impl Priority {
    /// Whether the past is being read.
    pub const fn is_backfill(self) -> bool {
        matches!(self, Self::Backfill(_))
    }
}

impl<'a> Charge<'a> {
    /// A call that cannot wait.
    pub const fn new(account: &'a str, operation: &'static str) -> Self {
        Self {
            account,
            operation,
            priority: Priority::Immediate,
            is_conditional: false,
        }
    }
}

/// A place among the calls in flight; given back when dropped.
#[derive(Debug, Default)]
pub struct Admission(#[expect(dead_code, reason = "held until dropped")] Vec<OwnedSemaphorePermit>);

impl Admission {
    /// A place that holds these permits.
    pub const fn new(permits: Vec<OwnedSemaphorePermit>) -> Self {
        Self(permits)
    }
}

/// No place before `retry_at`.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no call may go out before {retry_at}")]
pub struct Refused {
    /// The earliest moment for another try.
    pub retry_at: DateTime<Utc>,
    /// Whom the limit concerns.
    pub scope: LimitScope,
    /// The operation that was refused.
    pub operation: &'static str,
}

/// A provider's limit as one answer's headers stated it.
#[derive(Debug, Clone, Copy)]
pub struct LimitObservation {
    /// Whose calls it concerns.
    pub reach: LimitScope,
    /// What the call cost: one unit, more where the provider counts points, none where it
    /// charges nothing for an answer that has not changed.
    pub spent: u32,
    /// Units in the whole window.
    pub limit: Option<u64>,
    /// Units left in the window.
    pub remaining: Option<u64>,
    /// When the window starts anew.
    pub reset_at: Option<DateTime<Utc>>,
    /// Nothing may go out before this moment.
    pub blocked_until: Option<DateTime<Utc>>,
}

impl Default for LimitObservation {
    fn default() -> Self {
        Self {
            reach: LimitScope::Account,
            spent: 1,
            limit: None,
            remaining: None,
            reset_at: None,
            blocked_until: None,
        }
    }
}
