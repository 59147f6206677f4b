//! Reads of streams.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, NullOrdering, OnConflict, Order};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    Select,
};
use serde_json::Value;

use super::{PageSize, StreamCursor};
use crate::db::entities::cursors::{ActiveModel, Column, Entity};
use crate::db::orm::Scoped;
use crate::db::{DbError, Json, TenantScope, Tx};
use crate::model::{ConnectionId, StreamSpec};

#[derive(FromQueryResult)]
struct Row {
    stream: String,
    resource_id: Option<String>,
    target: Json<Value>,
    cursor: Option<Json<Value>>,
    version: i64,
    backfill_from: DateTime<Utc>,
    resync_from: Option<DateTime<Utc>>,
    pending_upper_bound: Option<DateTime<Utc>>,
    read_through: Option<DateTime<Utc>>,
    reconciled_through: Option<DateTime<Utc>>,
    failures: i32,
    page_halvings: i16,
    good_pages: i16,
    is_reconciliation_denied: bool,
    requested_at: Option<DateTime<Utc>>,
}

impl From<Row> for StreamCursor {
    fn from(row: Row) -> Self {
        Self {
            spec: StreamSpec {
                key: row.stream,
                resource_id: row.resource_id,
                target: row.target.0,
            },
            cursor: row.cursor.map(|cursor| cursor.0),
            version: row.version,
            backfill_from: row.backfill_from,
            resync_from: row.resync_from,
            pending_upper_bound: row.pending_upper_bound,
            read_through: row.read_through,
            reconciled_through: row.reconciled_through,
            is_reconciliation_denied: row.is_reconciliation_denied,
            requested_at: row.requested_at,
            page_size: PageSize {
                failures: row.failures.unsigned_abs(),
                halvings: row.page_halvings.unsigned_abs().into(),
                good_pages: row.good_pages.unsigned_abs().into(),
            },
        }
    }
}

/// Selects a connection's streams.
pub(super) fn of_connection(scope: &TenantScope, connection: ConnectionId) -> Select<Entity> {
    Entity::scoped(scope).filter(Column::ConnectionId.eq(connection))
}

/// Selects the streams of a connection that it still has, without the root stream.
pub(super) fn listed(scope: &TenantScope, connection: ConnectionId, root: &str) -> Select<Entity> {
    of_connection(scope, connection)
        .filter(Column::RetiredAt.is_null())
        .filter(Column::Stream.ne(root))
}

/// The condition that a run has not attempted a stream yet.
fn is_unattempted(upper_bound: DateTime<Utc>) -> Condition {
    Condition::any()
        .add(Column::AttemptedThrough.is_null())
        .add(Column::AttemptedThrough.lt(upper_bound))
}

/// Loads streams, with the columns of the cursor and upper bound of reads or of another pass.
pub(super) async fn load(
    tx: &mut Tx,
    streams: Select<Entity>,
    cursor: Column,
    upper_bound: Column,
) -> Result<Vec<StreamCursor>, DbError> {
    let is_denied = "coalesce(reconcile_failure->>'code' = 'permission', false)";
    let rows: Vec<Row> = streams
        .select_only()
        .columns([
            Column::Stream,
            Column::ResourceId,
            Column::Target,
            Column::Version,
            Column::BackfillFrom,
            Column::ResyncFrom,
            Column::ReadThrough,
            Column::ReconciledThrough,
            Column::Failures,
            Column::PageHalvings,
            Column::GoodPages,
            Column::RequestedAt,
        ])
        .column_as(cursor, "cursor")
        .column_as(upper_bound, "pending_upper_bound")
        .expr_as(Expr::cust(is_denied), "is_reconciliation_denied")
        .into_model()
        .all(&tx.orm())
        .await?;
    Ok(rows.into_iter().map(StreamCursor::from).collect())
}

/// Returns the root stream; creates its row if there is none.
pub async fn get_or_create_root(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &StreamSpec,
    backfill_from: DateTime<Utc>,
) -> Result<StreamCursor, DbError> {
    let row = ActiveModel {
        tenant_id: Set(scope.tenant_id()),
        connection_id: Set(connection),
        stream: Set(root.key.clone()),
        target: Set(Json(root.target.clone())),
        backfill_from: Set(backfill_from),
        ..Default::default()
    };
    let key = [Column::TenantId, Column::ConnectionId, Column::Stream];
    Entity::insert(row)
        .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
        .exec_without_returning(&tx.orm())
        .await?;
    let root = of_connection(scope, connection).filter(Column::Stream.eq(&root.key));
    load(tx, root, Column::Cursor, Column::PendingUpperBound)
        .await?
        .pop()
        .ok_or(DbError::Corrupt("cursors"))
}

/// Lists the streams that a run has not read yet, at most `limit`.
///
/// The least recently read ones come first. With `requested_only`, only those that deliveries asked
/// for, the oldest request first: the first read of a stream belongs to the backfill instead.
pub async fn list_unread(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    root: &str,
    upper_bound: DateTime<Utc>,
    requested_only: bool,
    limit: i64,
) -> Result<Vec<StreamCursor>, DbError> {
    let unread = listed(scope, connection, root).filter(is_unattempted(upper_bound));
    let unread = if requested_only {
        unread
            .filter(Column::RequestedAt.is_not_null())
            .filter(Column::ReadThrough.is_not_null())
            .order_by_asc(Column::RequestedAt)
    } else {
        unread.order_by_with_nulls(Column::ReadThrough, Order::Asc, NullOrdering::First)
    };
    let unread = unread
        .order_by_asc(Column::Stream)
        .limit(limit.unsigned_abs());
    load(tx, unread, Column::Cursor, Column::PendingUpperBound).await
}
