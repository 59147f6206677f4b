//! Connections: a tenant's grant at one provider account, and its route.
//!
//! The route is the part of a connection that is read across tenants: where deliveries go and when
//! the account is next polled. Only this module changes the two rows, and it changes them together.

mod behind;
mod connect;
mod health;
mod pending;
mod progress;
mod read;
mod status;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, QueryFilter, UpdateMany};

use super::TenantScope;
use super::cursors::HeldBackBy;
use super::entities::connections::{Column, Entity};
use super::orm::Scoped;
use crate::health::HealthState;
use crate::model::{ConnectionId, ExternalAccount, JobError, TenantId};

pub use crate::model::ConnectionStatus;
pub use behind::Behind;
pub(crate) use behind::{below_watermark, is_behind, is_held_back, is_overdue};
pub use connect::{
    ConnectError, Connected, NewConnection, activate_pending, connect, lock_grant, release_grant,
    update_account,
};
pub use health::{
    Activity, ConnectionHealth, Reviewer, load_health, refresh_health, review_health,
};
pub(super) use health::{assess_all, review_soon};
pub use pending::{NewPending, create_pending, name_pending};
pub use progress::{
    IsBackfill, Progress, adapt_poll_interval, record_backfill_start, record_missed,
    record_problem, record_progress, record_run_time, update_poll_interval,
};
pub use read::{find_unnamed_pending, get, list, list_active, list_all, lock};
pub use status::{disconnect, set_status};

/// The `status_reason` of a connection whose grant the provider refused.
///
/// Such connections are probed only after a delivery or on request.
pub const GRANT_REFUSED: &str = "grant_refused";

/// A tenant's grant at one provider account.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The tenant that it belongs to.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: ConnectionId,
    /// The provider's slug.
    pub provider: String,
    /// Its status.
    pub status: ConnectionStatus,
    /// The reason for the status, a code of ours.
    pub status_reason: Option<String>,
    /// The provider's account; `None` while it is pending.
    pub account: Option<ExternalAccount>,
    /// Scopes or permissions, as the provider names them.
    pub scopes: Vec<String>,
    /// The provider's id of the person who requested a pending connection.
    pub requester: Option<String>,
    /// The approval that a pending connection waits for; `None` in other states.
    pub approval: Option<Approval>,
    /// The provider's id of the person whose administration of the account was proved.
    pub administrator: Option<String>,
    /// The configured poll interval.
    pub poll_interval_seconds: i32,
    /// The actual poll interval: longer if a run takes longer, shorter after missed deliveries.
    pub effective_poll_interval_seconds: i32,
    /// The time of the last successful read.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// The reason why the last read failed; `None` after a success.
    pub last_error: Option<JobError>,
    /// Events of its subscriptions that the provider refused.
    pub refused_events: Vec<String>,
    /// The end of its grant, if that is less than three days away.
    pub grant_ends_at: Option<DateTime<Utc>>,
    /// When the backfill was completed for the first time.
    pub backfilled_at: Option<DateTime<Utc>>,
    /// The progress of the backfill; `None` before and after it.
    pub backfill: Option<Backfill>,
    /// The time before which all facts that lists show as they happen are in the feed.
    pub complete_through: Option<DateTime<Utc>>,
    /// The time before which all facts that only a reconciliation pass finds are in the feed.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// The stream that holds the connection's completeness back.
    pub held_back_by: Option<HeldBackBy>,
    /// The reason why its completeness does not advance; `None` when it does.
    pub behind: Option<Behind>,
    /// Facts that a read found without a delivery, since it was connected.
    pub missed_count: i64,
    /// When the last such fact was found.
    pub missed_at: Option<DateTime<Utc>>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When the current grant was given.
    pub connected_at: DateTime<Utc>,
    /// When it is next polled; `None` while it is not polled.
    pub next_sync_at: Option<DateTime<Utc>>,
}

/// The filter of a list of connections.
#[derive(Debug, Clone, Default)]
pub struct ConnectionFilter {
    /// Providers' slugs; any when empty.
    pub providers: Vec<String>,
    /// Connections; any when empty.
    pub ids: Vec<ConnectionId>,
    /// States of health; any when empty.
    pub health: Vec<HealthState>,
    /// Statuses; any when empty.
    pub statuses: Vec<ConnectionStatus>,
    /// Only connections that are behind, or only those that are not; neither includes ended ones.
    pub is_behind: Option<bool>,
}

/// The approval that a pending connection waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The account's name; `None` until the provider has named the account.
    pub account_name: Option<String>,
    /// When the approval expires.
    pub expires_at: DateTime<Utc>,
}

/// The progress of a connection's backfill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backfill {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Streams known so far.
    pub streams: i64,
    /// Streams read to their end.
    pub streams_read: i64,
    /// The fraction of the streams that has been read, from 0 to 1.
    pub progress: f64,
    /// When it ends at the current speed; `None` while too little has been read for an estimate.
    pub estimated_end_at: Option<DateTime<Utc>>,
}

/// Updates a connection.
fn update(scope: &TenantScope, id: ConnectionId) -> UpdateMany<Entity> {
    Entity::update_scoped(scope).filter(Column::Id.eq(id))
}
