//! How far the feed is complete, connection by connection, so that a reader can tell "nothing
//! happened" from "we cannot see".
//!
//! Webhooks come as they come; what makes a span of time complete is that the provider was
//! asked about all of it. So a stream is complete up to where its last successful read began, less
//! the time that the provider takes to show a change; a connection as far as the least of its
//! streams, and only once everything that was read is below the feed's watermark. Some facts
//! are not listed as they happen (replies in old threads, edits, rows that are indexed late);
//! these are complete as far as the reconciliation pass has come.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::FeedQuery;
use super::rows::any_of;
use crate::db::TenantScope;
use crate::db::connections::{ConnectionStatus, below_watermark};
use crate::db::cursors::HeldBackBy;
use crate::ids::ConnectionId;

/// A connection's completeness, as a page of the feed tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Completeness {
    /// The connection.
    pub connection_id: ConnectionId,
    /// The provider's slug.
    #[schema(example = "github")]
    pub source: String,
    /// Whoever has followed the feed to a page without `has_more` has everything that the
    /// provider showed of the time before. Null while the past has not been read once.
    pub complete_through: Option<DateTime<Utc>>,
    /// The same of facts that only the reconciliation pass finds: replies in old threads, edits,
    /// rows that the provider lists late.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// Why it does not advance at the moment; null when it does.
    pub behind: Option<Behind>,
    /// The stream that cannot be read, and since when; null where every stream can.
    pub held_back_by: Option<HeldBackBy>,
}

/// How far the feed is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FeedCompleteness {
    /// The least of all connections that the filters leave; null while one has none.
    pub complete_through: Option<DateTime<Utc>>,
    /// The least of all connections that the filters leave; null while one has none.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// How many connections the filters leave, without those that have ended.
    pub total: i64,
    /// How many of them are behind.
    pub behind: i64,
    /// The first hundred of them, those that are behind first.
    pub connections: Vec<Completeness>,
    /// Where all of them are listed, page by page.
    #[schema(example = "/v1/connections")]
    pub connections_url: &'static str,
}

/// Why a connection is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Behind {
    /// Somebody at the provider must approve the app first.
    AwaitingApproval,
    /// Its past is being read for the first time.
    Backfilling,
    /// Somebody has paused it.
    Paused,
    /// The provider has suspended the app.
    Suspended,
    /// The grant is gone; a person must connect it again.
    NeedsReauth,
    /// It has ended.
    Disconnected,
    /// The provider limits the rate of calls.
    RateLimited,
    /// The provider denies permission to read a part of it.
    Denied,
    /// The last read failed; it is tried again.
    Failing,
    /// The next read is overdue: workers are down, or busy.
    Overdue,
    /// It was read, and a transaction left open somewhere holds the feed back.
    HeldBack,
}

/// A connection as the statement of a page reads it.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    id: ConnectionId,
    provider: String,
    status: ConnectionStatus,
    backfilled: bool,
    error: Option<String>,
    overdue: bool,
    held_back: bool,
    through: Option<DateTime<Utc>>,
    reconciled_through: Option<DateTime<Utc>>,
    held_back_by: Option<HeldBackBy>,
}

/// Connections on a page at most.
const MAX_LISTED: i64 = 100;

/// How far the connections that are wanted are complete, as one column of JSON. Served by the
/// primary key of `connections`.
pub(super) fn column(
    statement: &mut QueryBuilder<Postgres>,
    scope: &TenantScope,
    query: &FeedQuery,
) {
    statement
        .push(concat!(
            "(WITH c AS MATERIALIZED ( \
             SELECT id, provider, status, backfilled_at IS NOT NULL AS backfilled, \
                 last_error ->> 'code' AS error, held_back_by, \
                 coalesce(last_sync_at < now() - interval '1 minute' \
                     - 2 * greatest(poll_interval_seconds, run_seconds * 1.25) \
                         * interval '1 second', false) AS overdue, \
                 coalesce(complete_tx >= pg_snapshot_xmin(pg_current_snapshot()), false) \
                     AS held_back, ",
            below_watermark!("complete_through", "settled_through"),
            " AS through, ",
            below_watermark!("reconciled_through", "settled_reconciled_through"),
            " AS reconciled_through \
             FROM connections WHERE tenant_id = ",
        ))
        .push_bind(scope.tenant_id());
    any_of(statement, "provider", &query.sources);
    any_of(statement, "id", &query.connection_ids);
    statement
        .push(
            "), sorted AS (SELECT *, status = 'disconnected' AS has_ended, \
                 status <> 'active' OR error IS NOT NULL OR NOT backfilled OR overdue OR held_back \
                     AS is_behind FROM c) \
             SELECT json_build_object( \
                 'total', count(*), 'behind', count(*) FILTER (WHERE is_behind), \
                 'complete_through', CASE WHEN count(*) = count(through) THEN min(through) END, \
                 'reconciled_through', CASE WHEN count(*) = count(reconciled_through) \
                     THEN min(reconciled_through) END, \
                 'connections', coalesce((SELECT json_agg(l) FROM (SELECT * FROM sorted \
                     ORDER BY has_ended, is_behind DESC, id DESC LIMIT ",
        )
        .push_bind(MAX_LISTED)
        .push(") l), '[]')) FROM sorted WHERE NOT has_ended) AS completeness");
}

/// The column as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Column {
    total: i64,
    behind: i64,
    complete_through: Option<DateTime<Utc>>,
    reconciled_through: Option<DateTime<Utc>>,
    connections: Vec<Row>,
}

impl From<Column> for FeedCompleteness {
    fn from(column: Column) -> Self {
        Self {
            complete_through: column.complete_through,
            reconciled_through: column.reconciled_through,
            total: column.total,
            behind: column.behind,
            connections_url: "/v1/connections",
            connections: column
                .connections
                .into_iter()
                .map(Completeness::from)
                .collect(),
        }
    }
}

impl From<Row> for Completeness {
    fn from(row: Row) -> Self {
        let behind = row.behind();
        Self {
            connection_id: row.id,
            source: row.provider,
            complete_through: row.through,
            reconciled_through: row.reconciled_through,
            behind,
            held_back_by: row.held_back_by,
        }
    }
}

impl Row {
    fn behind(&self) -> Option<Behind> {
        match self.status {
            ConnectionStatus::Pending => return Some(Behind::AwaitingApproval),
            ConnectionStatus::Paused => return Some(Behind::Paused),
            ConnectionStatus::Suspended => return Some(Behind::Suspended),
            ConnectionStatus::NeedsReauth => return Some(Behind::NeedsReauth),
            ConnectionStatus::Disconnected => return Some(Behind::Disconnected),
            ConnectionStatus::Active => {}
        }
        match self.error.as_deref() {
            Some("rate_limited") => Some(Behind::RateLimited),
            Some("permission") => Some(Behind::Denied),
            Some(_) => Some(Behind::Failing),
            None if !self.backfilled => Some(Behind::Backfilling),
            None if self.overdue => Some(Behind::Overdue),
            None if self.held_back => Some(Behind::HeldBack),
            None => None,
        }
    }
}
