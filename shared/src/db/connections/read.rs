//! Reads of connections, each with its route, refused events and backfill progress.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, JoinType, LockType, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, DerivePartialModel, EntityName, QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde_json::Value;

use super::{
    Approval, Backfill, Behind, Connection, ConnectionFilter, ConnectionStatus, HeldBackBy,
    below_watermark, is_behind, is_held_back, is_overdue,
};
use crate::db::entities::connections::{Column, Entity};
use crate::db::entities::{connection_routes, cursors};
use crate::db::orm::{Scoped, across_tenants, equals_literal, newest_first, now};
use crate::db::page::{Page, PageRequest};
use crate::db::{DbError, Json, OperatorProof, TenantScope, Tx, sanitize};
use crate::model::{ConnectionId, ExternalAccount, JobError, TenantId};

#[derive(DerivePartialModel)]
#[sea_orm(entity = "Entity")]
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
    #[sea_orm(from_expr = "effective_poll_interval()")]
    effective_poll_interval_seconds: i32,
    last_sync_at: Option<DateTime<Utc>>,
    last_error: Option<Json<JobError>>,
    #[sea_orm(from_expr = "refused_events()")]
    refused_events: Vec<String>,
    #[sea_orm(from_expr = "grant_ends_at()")]
    grant_ends_at: Option<DateTime<Utc>>,
    backfilled_at: Option<DateTime<Utc>>,
    backfill_started_at: Option<DateTime<Utc>>,
    #[sea_orm(from_expr = "Expr::cust(\"backfill.streams\")")]
    streams: Option<i64>,
    #[sea_orm(from_expr = "Expr::cust(\"backfill.streams_read\")")]
    streams_read: Option<i64>,
    #[sea_orm(from_expr = "Expr::cust(\"backfill.progress\")")]
    progress: Option<f64>,
    #[sea_orm(from_expr = "backfill_ends_at()")]
    backfill_ends_at: Option<DateTime<Utc>>,
    #[sea_orm(from_expr = "complete_through()")]
    complete_through: Option<DateTime<Utc>>,
    #[sea_orm(from_expr = "reconciled_through()")]
    reconciled_through: Option<DateTime<Utc>>,
    held_back_by: Option<Json<HeldBackBy>>,
    #[sea_orm(from_expr = "is_overdue()")]
    is_overdue: bool,
    #[sea_orm(from_expr = "is_held_back()")]
    is_held_back: bool,
    missed_count: i64,
    missed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    connected_at: DateTime<Utc>,
    #[sea_orm(from_expr = "next_sync_at()")]
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

fn effective_poll_interval() -> Expr {
    Expr::cust(
        "coalesce(connection_routes.poll_interval_seconds, connections.poll_interval_seconds)",
    )
}

fn next_sync_at() -> Expr {
    Expr::cust("CASE WHEN connection_routes.polling THEN connection_routes.next_sync_at END")
}

fn refused_events() -> Expr {
    Expr::cust(
        "ARRAY(SELECT DISTINCT e.event FROM subscriptions s, unnest(s.refused_events) AS e(event) \
         WHERE s.tenant_id = connections.tenant_id AND s.connection_id = connections.id \
           AND s.desired ORDER BY e.event)",
    )
}

/// The end of the grant, if it is near.
fn grant_ends_at() -> Expr {
    Expr::cust(
        "(SELECT g.refresh_expires_at FROM credentials g \
          WHERE g.tenant_id = connections.tenant_id AND g.connection_id = connections.id \
            AND g.holder = 'account' AND g.refresh_expires_at < now() + interval '3 days')",
    )
}

/// The end of the backfill at its speed so far; NULL while too little has been read.
fn backfill_ends_at() -> Expr {
    Expr::cust(
        "CASE WHEN backfill.progress > 0.01 THEN now() \
             + (now() - connections.backfill_started_at) \
             * ((1 - backfill.progress) / backfill.progress) END",
    )
}

fn complete_through() -> Expr {
    Expr::cust(below_watermark!(
        "complete_through",
        "previous_complete_through"
    ))
}

fn reconciled_through() -> Expr {
    Expr::cust(below_watermark!(
        "reconciled_through",
        "previous_reconciled_through"
    ))
}

fn is_overdue() -> Expr {
    Expr::cust(is_overdue!("connections."))
}

fn is_held_back() -> Expr {
    Expr::cust(is_held_back!("connections."))
}

/// Selects the number and the progress of a connection's streams, for a lateral join.
fn stream_progress() -> SelectStatement {
    use cursors::Column as Cursor;

    let progress = "avg(CASE WHEN read_through IS NULL THEN progress ELSE 1 END)::float8";
    let of_connection = Condition::all()
        .add(equal(Cursor::TenantId, Column::TenantId))
        .add(equal(Cursor::ConnectionId, Column::Id))
        .add(Cursor::RetiredAt.is_null())
        .add(Cursor::ListedAt.is_not_null());
    Query::select()
        .expr_as(Expr::cust("count(*)"), "streams")
        .expr_as(Cursor::ReadThrough.count(), "streams_read")
        .expr_as(Expr::cust(progress), "progress")
        .from(cursors::Entity)
        .cond_where(of_connection)
        .take()
}

/// The condition that a column of another table equals one of the connection.
fn equal(other: impl ColumnTrait, own: Column) -> Expr {
    other.into_expr().equals((Entity, own))
}

/// Selects a tenant's connections, joined with what a [`Row`] has from other tables.
fn select(scope: &TenantScope) -> Select<Entity> {
    joined(Entity::scoped(scope))
}

/// Joins connections with what a [`Row`] has from other tables.
fn joined(mut select: Select<Entity>) -> Select<Entity> {
    use connection_routes::Column as Route;

    let routed = Condition::all()
        .add(equal(Route::TenantId, Column::TenantId))
        .add(equal(Route::ConnectionId, Column::Id));
    let is_backfilling = Condition::all()
        .add(Column::BackfillStartedAt.is_not_null())
        .add(Column::BackfilledAt.is_null());
    QuerySelect::query(&mut select)
        .join(JoinType::LeftJoin, connection_routes::Entity, routed)
        .join_lateral(
            JoinType::LeftJoin,
            stream_progress(),
            "backfill",
            is_backfilling,
        );
    select
}

/// Returns a connection.
pub async fn get(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<Option<Connection>, DbError> {
    let named = select(scope).filter(Column::Id.eq(id));
    let row = named.into_partial_model::<Row>().one(&tx.orm()).await?;
    Ok(row.map(Connection::from))
}

/// Returns a connection and locks its row against changes by other transactions.
pub async fn lock(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<Option<Connection>, DbError> {
    let mut named = select(scope).filter(Column::Id.eq(id));
    QuerySelect::query(&mut named).lock_with_tables(LockType::NoKeyUpdate, [Entity.table_ref()]);
    let row = named.into_partial_model::<Row>().one(&tx.orm()).await?;
    Ok(row.map(Connection::from))
}

/// Lists a tenant's connections, newest first, including ended ones.
///
/// Scans the primary key backwards or, with a rare state of health, the index `connections_health`.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    filter: &ConnectionFilter,
    request: &PageRequest,
) -> Result<Page<Connection>, DbError> {
    page(tx, select(scope), filter, request).await
}

/// Lists the connections of all tenants, newest first, including ended ones.
///
/// The transaction must be one of [`crate::db::Db::begin_for_operator`]. Scans the index
/// `connections_all` or, with one state of health, `connections_all_health`.
pub async fn list_all(
    tx: &mut Tx,
    _proof: OperatorProof,
    filter: &ConnectionFilter,
    request: &PageRequest,
) -> Result<Page<Connection>, DbError> {
    page(tx, joined(across_tenants::<Entity>()), filter, request).await
}

async fn page(
    tx: &mut Tx,
    mut connections: Select<Entity>,
    filter: &ConnectionFilter,
    request: &PageRequest,
) -> Result<Page<Connection>, DbError> {
    if !filter.providers.is_empty() {
        connections = connections.filter(Column::Provider.eq_any(filter.providers.clone()));
    }
    if !filter.ids.is_empty() {
        connections = connections.filter(Column::Id.eq_any(filter.ids.clone()));
    }
    if !filter.health.is_empty() {
        // Literals, because a generic plan takes all states for equally frequent.
        let states = filter.health.iter();
        let states = states.map(|state| Expr::cust(format!("'{}'", state.as_str())));
        connections = connections.filter(Column::Health.into_expr().is_in(states));
    }
    if !filter.statuses.is_empty() {
        connections = connections.filter(Column::Status.is_in(filter.statuses.clone()));
    }
    if let Some(is_behind) = filter.is_behind {
        let is_behind = if is_behind {
            is_behind!("connections.")
        } else {
            concat!("NOT ", is_behind!("connections."))
        };
        connections = connections
            .filter(Column::Status.ne(ConnectionStatus::Disconnected))
            .filter(Expr::cust(is_behind));
    }
    let rows = newest_first(connections, Column::Id, request)
        .into_partial_model::<Row>()
        .all(&tx.orm())
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
    let rows = select(scope)
        .filter(Column::Provider.eq(provider))
        .filter(equals_literal(Column::Status, ConnectionStatus::Active))
        .order_by_asc(Column::Id)
        .into_partial_model::<Row>()
        .all(&tx.orm())
        .await?;
    Ok(rows.into_iter().map(Connection::from).collect())
}

/// Returns the pending connection of `requester` without an account, if there is exactly one.
///
/// If two tenants wait for the same person, no trustworthy attribute distinguishes them. Served by
/// `connections_pending`.
pub async fn find_unnamed_pending(
    tx: &mut Tx,
    provider: &str,
    requester: &str,
) -> Result<Option<(TenantScope, ConnectionId)>, DbError> {
    let rows: Vec<(TenantId, ConnectionId)> = across_tenants::<Entity>()
        .select_only()
        .columns([Column::TenantId, Column::Id])
        .filter(equals_literal(Column::Status, ConnectionStatus::Pending))
        .filter(Column::Provider.eq(provider))
        .filter(Column::Requester.eq(&*sanitize(requester)))
        .filter(Column::AccountStableId.is_null())
        .filter(Column::PendingUntil.into_expr().gt(now()))
        .limit(2)
        .into_tuple()
        .all(&tx.orm())
        .await?;
    match rows.as_slice() {
        [(tenant, connection)] => Ok(Some((TenantScope::new(*tenant), *connection))),
        _ => Ok(None),
    }
}
