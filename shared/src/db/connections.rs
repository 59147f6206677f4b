//! Connections: a tenant's grant at one provider account, and its route.
//!
//! The route is the part of a connection that is read across tenants: where deliveries go and when
//! the account is next polled. Only this module changes the two rows, and it changes them together.

mod behind;
mod connect;
mod progress;
mod status;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::QueryBuilder;

use super::cursors::HeldBackBy;
use super::page::{Page, PageRequest};
use super::{DbError, Json, TenantScope, Tx, sanitize};
use crate::model::{ConnectionId, ExternalAccount, JobError, TenantId};

pub use crate::model::ConnectionStatus;
pub use behind::Behind;
pub(crate) use behind::{is_behind, is_held_back, is_overdue};
pub use connect::{
    ConnectError, Connected, NewConnection, NewPending, activate_pending, connect, create_pending,
    is_grant_used, name_pending, release_grant, update_account,
};
pub(crate) use progress::below_watermark;
pub use progress::{
    IsBackfill, Progress, adapt_poll_interval, record_backfill_start, record_missed,
    record_problem, record_progress, record_run_time, update_poll_interval,
};
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

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: TenantId,
    id: ConnectionId,
    provider: String,
    status: ConnectionStatus,
    status_reason: Option<String>,
    account_id: Option<String>,
    account_name: Option<String>,
    account_stable_id: Option<String>,
    settings: Json<Value>,
    scopes: Vec<String>,
    requester: Option<String>,
    pending_until: Option<DateTime<Utc>>,
    administrator: Option<String>,
    poll_interval_seconds: i32,
    effective_poll_interval_seconds: i32,
    last_sync_at: Option<DateTime<Utc>>,
    last_error: Option<Json<JobError>>,
    refused_events: Vec<String>,
    grant_ends_at: Option<DateTime<Utc>>,
    backfilled_at: Option<DateTime<Utc>>,
    backfill_started_at: Option<DateTime<Utc>>,
    streams: Option<i64>,
    streams_read: Option<i64>,
    progress: Option<f64>,
    backfill_ends_at: Option<DateTime<Utc>>,
    complete_through: Option<DateTime<Utc>>,
    reconciled_through: Option<DateTime<Utc>>,
    held_back_by: Option<Json<HeldBackBy>>,
    is_overdue: bool,
    is_held_back: bool,
    missed_count: i64,
    missed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    connected_at: DateTime<Utc>,
    next_sync_at: Option<DateTime<Utc>>,
}

impl From<Row> for Connection {
    fn from(row: Row) -> Self {
        let approval = row
            .pending_until
            .filter(|_| row.status == ConnectionStatus::Pending)
            .map(|expires_at| Approval {
                account_name: row.account_name.clone(),
                expires_at,
            });
        let account = match (row.account_id, row.account_stable_id) {
            (Some(id), Some(stable_id)) => Some(ExternalAccount {
                name: row.account_name.unwrap_or_else(|| id.clone()),
                id,
                stable_id,
                settings: row.settings.0,
            }),
            _ => None,
        };
        let behind = Behind::from_state(
            row.status,
            row.last_error.as_ref().map(|error| error.0.code.as_str()),
            row.backfilled_at.is_some(),
            row.is_overdue,
            row.is_held_back,
        );
        let started_at = row.backfill_started_at;
        let backfill = started_at
            .filter(|_| row.backfilled_at.is_none())
            .map(|started_at| Backfill {
                started_at,
                streams: row.streams.unwrap_or(0),
                streams_read: row.streams_read.unwrap_or(0),
                progress: row.progress.unwrap_or(0.0),
                estimated_end_at: row.backfill_ends_at,
            });
        Self {
            tenant_id: row.tenant_id,
            id: row.id,
            provider: row.provider,
            status: row.status,
            status_reason: row.status_reason,
            account,
            scopes: row.scopes,
            requester: row.requester,
            approval,
            administrator: row.administrator,
            poll_interval_seconds: row.poll_interval_seconds,
            effective_poll_interval_seconds: row.effective_poll_interval_seconds,
            last_sync_at: row.last_sync_at,
            last_error: row.last_error.map(|Json(error)| error),
            refused_events: row.refused_events,
            grant_ends_at: row.grant_ends_at,
            backfilled_at: row.backfilled_at,
            backfill,
            complete_through: row.complete_through,
            reconciled_through: row.reconciled_through,
            held_back_by: row.held_back_by.map(|Json(held)| held),
            behind,
            missed_count: row.missed_count,
            missed_at: row.missed_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            connected_at: row.connected_at,
            next_sync_at: row.next_sync_at,
        }
    }
}

macro_rules! select {
    ($($rest:tt)+) => {
        concat!(
            "SELECT c.tenant_id, c.id, c.provider, c.status, c.status_reason, c.account_id, \
                    c.account_name, c.account_stable_id, c.settings, c.scopes, c.requester, \
                    c.pending_until, c.administrator, \
                    c.poll_interval_seconds, c.last_sync_at, c.last_error, c.backfilled_at, \
                    c.backfill_started_at, b.streams, b.streams_read, b.progress, \
                    CASE WHEN b.progress > 0.01 THEN now() + (now() - c.backfill_started_at) \
                        * ((1 - b.progress) / b.progress) END AS backfill_ends_at, \
                    ",
            below_watermark!("complete_through", "settled_through"),
            " AS complete_through, ",
            below_watermark!("reconciled_through", "settled_reconciled_through"),
            " AS reconciled_through, ",
            is_overdue!("c."),
            " AS is_overdue, ",
            is_held_back!("c."),
            " AS is_held_back, \
                    c.held_back_by, c.missed_count, c.missed_at, \
                    c.created_at, c.updated_at, c.connected_at, \
                    ARRAY(SELECT DISTINCT e.event FROM subscriptions s, unnest(s.refused_events) \
                        AS e(event) WHERE s.tenant_id = c.tenant_id AND s.connection_id = c.id \
                          AND s.desired ORDER BY e.event) AS refused_events, \
                    (SELECT g.refresh_expires_at FROM credentials g \
                     WHERE g.tenant_id = c.tenant_id AND g.connection_id = c.id \
                       AND g.holder = 'account' \
                       AND g.refresh_expires_at < now() + interval '3 days') AS grant_ends_at, \
                    coalesce(r.poll_interval_seconds, c.poll_interval_seconds) \
                        AS effective_poll_interval_seconds, \
                    CASE WHEN r.polling THEN r.next_sync_at END AS next_sync_at \
             FROM connections c \
             LEFT JOIN connection_routes r ON r.tenant_id = c.tenant_id AND r.connection_id = c.id \
             LEFT JOIN LATERAL ( \
                 SELECT count(*) AS streams, count(k.read_through) AS streams_read, \
                     avg(CASE WHEN k.read_through IS NULL THEN k.progress ELSE 1 END)::float8 \
                         AS progress \
                 FROM cursors k \
                 WHERE k.tenant_id = c.tenant_id AND k.connection_id = c.id \
                   AND k.retired_at IS NULL AND k.listed_at IS NOT NULL \
             ) b ON c.backfill_started_at IS NOT NULL AND c.backfilled_at IS NULL ",
            $($rest)+
        )
    };
}

/// Returns a connection.
pub async fn get(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<Option<Connection>, DbError> {
    let row = sqlx::query_as::<_, Row>(select!("WHERE c.tenant_id = $1 AND c.id = $2"))
        .bind(scope.tenant_id())
        .bind(id)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.map(Connection::from))
}

/// Returns a connection and locks its row against changes by other transactions.
pub async fn lock(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<Option<Connection>, DbError> {
    let row = sqlx::query_as::<_, Row>(select!(
        "WHERE c.tenant_id = $1 AND c.id = $2 FOR NO KEY UPDATE OF c"
    ))
    .bind(scope.tenant_id())
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(Connection::from))
}

/// Lists a tenant's connections, newest first, including ended ones.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    filter: &ConnectionFilter,
    request: &PageRequest,
) -> Result<Page<Connection>, DbError> {
    let mut query = QueryBuilder::new(select!("WHERE c.tenant_id = "));
    query.push_bind(scope.tenant_id());
    if let Some(before) = request.before {
        query.push(" AND c.id < ").push_bind(before);
    }
    if !filter.providers.is_empty() {
        query.push(" AND c.provider = ANY (");
        query.push_bind(&filter.providers).push(")");
    }
    if !filter.ids.is_empty() {
        query.push(" AND c.id = ANY (");
        query.push_bind(&filter.ids).push(")");
    }
    if let Some(is_behind) = filter.is_behind {
        query.push(" AND c.status <> 'disconnected' AND ");
        query.push(if is_behind { "" } else { "NOT " });
        query.push(is_behind!("c."));
    }
    query.push(" ORDER BY c.id DESC LIMIT ");
    let rows = query
        .push_bind(request.fetch_limit())
        .build_query_as::<Row>()
        .fetch_all(&mut **tx)
        .await?;
    let connections = rows.into_iter().map(Connection::from).collect();
    Ok(request.page(connections, |connection: &Connection| connection.id.0))
}

/// Lists a tenant's active connections at a provider.
pub async fn list_active(
    tx: &mut Tx,
    scope: &TenantScope,
    provider: &str,
) -> Result<Vec<Connection>, DbError> {
    let rows = sqlx::query_as::<_, Row>(select!(
        "WHERE c.tenant_id = $1 AND c.provider = $2 AND c.status = 'active' ORDER BY c.id"
    ))
    .bind(scope.tenant_id())
    .bind(provider)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(Connection::from).collect())
}

/// Returns the pending connection of `requester` without an account, if there is exactly one.
///
/// If two tenants wait for the same person, no trustworthy attribute distinguishes them.
pub async fn find_unnamed_pending(
    tx: &mut Tx,
    provider: &str,
    requester: &str,
) -> Result<Option<(TenantScope, ConnectionId)>, DbError> {
    let rows: Vec<(TenantId, ConnectionId)> = sqlx::query_as(
        "SELECT tenant_id, id FROM connections \
         WHERE status = 'pending' AND provider = $1 AND requester = $2 \
           AND account_stable_id IS NULL AND pending_until > now() LIMIT 2",
    )
    .bind(provider)
    .bind(sanitize(requester))
    .fetch_all(&mut **tx)
    .await?;
    match rows.as_slice() {
        [(tenant, connection)] => Ok(Some((TenantScope::new(*tenant), *connection))),
        _ => Ok(None),
    }
}
