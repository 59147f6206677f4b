//! Connections: one tenant's grant at one provider account, and its route.
//!
//! The route is a connection's face to the other tenants' processes: where deliveries go
//! and when the account is next polled. Both rows change together, here and nowhere else.

mod connect;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{Page, PageRequest};
use super::{DbError, TenantScope, Tx};
use crate::connectors::ExternalAccount;
use crate::ids::{ConnectionId, TenantId};
use crate::queue::JobError;

pub use connect::{
    ConnectError, Connected, NewConnection, activate_pending, connect, create_pending,
};

/// Where a connection stands.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    sqlx::Type,
    IntoStaticStr,
    EnumString,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "connection_status", rename_all = "snake_case")]
pub enum ConnectionStatus {
    /// Somebody at the provider must approve first.
    Pending,
    /// Deliveries are taken in and the account is polled.
    Active,
    /// An operator or the tenant stopped polling; deliveries are kept.
    Paused,
    /// The provider suspended the grant.
    Suspended,
    /// The grant is gone; only a person can renew it.
    NeedsReauth,
    /// Ended: credentials and cursors are erased, the row is kept as history.
    Disconnected,
}

/// One tenant's grant at one provider account.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: ConnectionId,
    /// The provider's slug.
    pub provider: String,
    /// Where it stands.
    pub status: ConnectionStatus,
    /// Why it stands there, in a word of ours.
    pub status_reason: Option<String>,
    /// The provider's account; `None` while it is pending.
    pub account: Option<ExternalAccount>,
    /// Scopes or permissions, as the provider names them.
    pub scopes: Vec<String>,
    /// The provider's id of the person who asked for a pending one.
    pub requester: Option<String>,
    /// How often it is polled.
    pub poll_interval_seconds: i32,
    /// When it was last read successfully.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// Why the last read failed; `None` after a success.
    pub last_error: Option<JobError>,
    /// When its past had been read completely for the first time.
    pub backfilled_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When the present grant was given.
    pub connected_at: DateTime<Utc>,
    /// When it is next polled; `None` while it is not.
    pub next_sync_at: Option<DateTime<Utc>>,
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
    poll_interval_seconds: i32,
    last_sync_at: Option<DateTime<Utc>>,
    last_error: Option<Json<JobError>>,
    backfilled_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    connected_at: DateTime<Utc>,
    next_sync_at: Option<DateTime<Utc>>,
}

impl From<Row> for Connection {
    fn from(row: Row) -> Self {
        let account = match (row.account_id, row.account_stable_id) {
            (Some(id), Some(stable_id)) => Some(ExternalAccount {
                name: row.account_name.unwrap_or_else(|| id.clone()),
                id,
                stable_id,
                settings: row.settings.0,
            }),
            _ => None,
        };
        Self {
            tenant_id: row.tenant_id,
            id: row.id,
            provider: row.provider,
            status: row.status,
            status_reason: row.status_reason,
            account,
            scopes: row.scopes,
            requester: row.requester,
            poll_interval_seconds: row.poll_interval_seconds,
            last_sync_at: row.last_sync_at,
            last_error: row.last_error.map(|Json(error)| error),
            backfilled_at: row.backfilled_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            connected_at: row.connected_at,
            next_sync_at: row.next_sync_at,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.tenant_id, c.id, c.provider, c.status, c.status_reason, c.account_id, \
                    c.account_name, c.account_stable_id, c.settings, c.scopes, c.requester, \
                    c.poll_interval_seconds, c.last_sync_at, c.last_error, c.backfilled_at, \
                    c.created_at, c.updated_at, c.connected_at, \
                    CASE WHEN r.polling THEN r.next_sync_at END AS next_sync_at \
             FROM connections c \
             LEFT JOIN connection_routes r ON r.tenant_id = c.tenant_id AND r.connection_id = c.id ",
            $rest
        )
    };
}

/// One connection.
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

/// One connection that nobody else changes until the transaction ends.
pub async fn lock(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<Option<Connection>, DbError> {
    let row = sqlx::query_as::<_, Row>(select!(
        "WHERE c.tenant_id = $1 AND c.id = $2 FOR UPDATE OF c"
    ))
    .bind(scope.tenant_id())
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(Connection::from))
}

/// A tenant's connections, newest first, ended ones included.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    provider: Option<&str>,
    request: &PageRequest,
) -> Result<Page<Connection>, DbError> {
    let rows = sqlx::query_as::<_, Row>(select!(
        "WHERE c.tenant_id = $1 AND c.id < $2 AND ($4::text IS NULL OR c.provider = $4) \
         ORDER BY c.id DESC LIMIT $3"
    ))
    .bind(scope.tenant_id())
    .bind(request.before.unwrap_or(Uuid::max()))
    .bind(request.fetch_limit())
    .bind(provider)
    .fetch_all(&mut **tx)
    .await?;
    let connections = rows.into_iter().map(Connection::from).collect();
    Ok(request.page(connections, |connection: &Connection| connection.id.0))
}

/// Every active connection of a tenant at a provider.
pub async fn active_at(
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

/// Moves a connection to a status and its route with it: an active one is polled, from now
/// on; one that is paused, suspended or without a grant keeps its route, so that deliveries
/// are still taken in; a disconnected one has none. Nothing but [`connect`] leads out of
/// `disconnected`. Answers whether anything changed.
pub async fn set_status(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    status: ConnectionStatus,
    reason: Option<&str>,
) -> Result<bool, DbError> {
    let changed = sqlx::query(
        "UPDATE connections SET status = $3, status_reason = $4, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2 AND status <> 'disconnected' \
           AND (status, status_reason) IS DISTINCT FROM ($3, $4)",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(status)
    .bind(reason)
    .execute(&mut **tx)
    .await?
    .rows_affected()
        == 1;
    if !changed {
        return Ok(false);
    }
    let route = match status {
        ConnectionStatus::Disconnected => {
            "WITH gone AS ( \
                 DELETE FROM delivery_routes WHERE tenant_id = $1 AND connection_id = $2) \
             DELETE FROM connection_routes WHERE tenant_id = $1 AND connection_id = $2"
        }
        ConnectionStatus::Active => {
            "UPDATE connection_routes SET polling = true, next_sync_at = now(), \
                 subscriptions_at = now() \
             WHERE tenant_id = $1 AND connection_id = $2"
        }
        ConnectionStatus::Pending
        | ConnectionStatus::Paused
        | ConnectionStatus::Suspended
        | ConnectionStatus::NeedsReauth => {
            "UPDATE connection_routes SET polling = false \
             WHERE tenant_id = $1 AND connection_id = $2"
        }
    };
    sqlx::query(route)
        .bind(scope.tenant_id())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(true)
}

/// Ends a connection: no route, no cursors, no subscriptions; the row stays as history.
/// The tokens are the credential store's to erase. Answers whether it had not ended before.
pub async fn disconnect(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    reason: &str,
) -> Result<bool, DbError> {
    if !set_status(tx, scope, id, ConnectionStatus::Disconnected, Some(reason)).await? {
        return Ok(false);
    }
    for statement in [
        "DELETE FROM cursors WHERE tenant_id = $1 AND connection_id = $2",
        "DELETE FROM subscriptions WHERE tenant_id = $1 AND connection_id = $2",
        "DELETE FROM directory_entries WHERE tenant_id = $1 AND connection_id = $2",
        // Whoever connects the account again begins with its whole past.
        "UPDATE connections SET backfilled_at = NULL, last_error = NULL, \
             complete_through = NULL, complete_tx = NULL, settled_through = NULL \
         WHERE tenant_id = $1 AND id = $2",
    ] {
        sqlx::query(statement)
            .bind(scope.tenant_id())
            .bind(id)
            .execute(&mut **tx)
            .await?;
    }
    Ok(true)
}

/// Notes that a read ended well: everything that the provider showed of the time before
/// `through` has been written. `backfilled` says that the past was read with it.
pub async fn record_sync(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    through: DateTime<Utc>,
    backfilled: bool,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE connections SET last_sync_at = now(), last_error = NULL, updated_at = now(), \
             backfilled_at = CASE WHEN $4 THEN coalesce(backfilled_at, now()) \
                             ELSE backfilled_at END, \
             settled_through = CASE \
                 WHEN complete_tx < pg_snapshot_xmin(pg_current_snapshot()) THEN complete_through \
                 ELSE settled_through END, \
             complete_through = greatest(complete_through, $3), \
             complete_tx = pg_current_xact_id() \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(through)
    .bind(backfilled)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes that a read failed, and why.
pub async fn record_failed_sync(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    error: &JobError,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE connections SET last_error = $3, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(Json(error))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Sets how often a connection is polled; a poll that was due later comes forward. Answers
/// whether there is such a connection.
pub async fn update_poll_interval(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    seconds: i32,
) -> Result<bool, DbError> {
    let found = sqlx::query(
        "UPDATE connections SET poll_interval_seconds = $3, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2 AND status <> 'disconnected'",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(seconds)
    .execute(&mut **tx)
    .await?
    .rows_affected()
        == 1;
    sqlx::query(
        "UPDATE connection_routes SET poll_interval_seconds = $3, \
             next_sync_at = least(next_sync_at, now() + make_interval(secs => $3)) \
         WHERE tenant_id = $1 AND connection_id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(seconds)
    .execute(&mut **tx)
    .await?;
    Ok(found)
}
