//! The gate every outbound call passes: who may call a provider, and when.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;

use crate::connectors::LimitScope;
use crate::ids::TenantId;

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
    /// Whose past it reads: such a call can wait for others, and tenants that read theirs at
    /// the same time get equal shares. `None` for every other call.
    pub bulk: Option<TenantId>,
}

impl<'a> Charge<'a> {
    /// A call that does not wait for others.
    pub const fn new(account: &'a str, operation: &'static str) -> Self {
        Self {
            account,
            operation,
            bulk: None,
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
}

/// A provider's limit as one answer's headers stated it.
#[derive(Debug, Clone, Copy)]
pub struct LimitObservation {
    /// Whose calls it concerns.
    pub reach: LimitScope,
    /// What the call cost, for limits that count points.
    pub spent: u32,
    /// Calls in the whole window.
    pub limit: Option<u64>,
    /// Calls left in the window.
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
            spent: 0,
            limit: None,
            remaining: None,
            reset_at: None,
            blocked_until: None,
        }
    }
}
