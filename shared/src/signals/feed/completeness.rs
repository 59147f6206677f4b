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
use crate::db::connections::{
    Behind, ConnectionStatus, below_watermark, is_behind, is_held_back, is_overdue,
};
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
    /// The stream that holds these times back, why, and since when; null where none does.
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
    /// Where all that are behind are listed, page by page, with the same filters.
    #[schema(example = "/v1/connections?behind=true")]
    pub connections_url: String,
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
                 status = 'disconnected' AS has_ended, ",
            is_behind!(""),
            " AS is_behind, ",
            is_overdue!(""),
            " AS overdue, ",
            is_held_back!(""),
            " AS held_back, ",
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
            ") SELECT json_build_object( \
                 'total', count(*), 'behind', count(*) FILTER (WHERE is_behind), \
                 'complete_through', CASE WHEN count(*) = count(through) THEN min(through) END, \
                 'reconciled_through', CASE WHEN count(*) = count(reconciled_through) \
                     THEN min(reconciled_through) END, \
                 'connections', coalesce((SELECT json_agg(l) FROM (SELECT * FROM c \
                     ORDER BY has_ended, is_behind DESC, id DESC LIMIT ",
        )
        .push_bind(MAX_LISTED)
        .push(") l), '[]')) FROM c WHERE NOT has_ended) AS completeness");
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

impl Column {
    /// How far the connections of `query` are complete.
    pub(super) fn into_completeness(self, query: &FeedQuery) -> FeedCompleteness {
        FeedCompleteness {
            complete_through: self.complete_through,
            reconciled_through: self.reconciled_through,
            total: self.total,
            behind: self.behind,
            connections_url: connections_url(query),
            connections: self
                .connections
                .into_iter()
                .map(Completeness::from)
                .collect(),
        }
    }
}

/// Where the API lists the connections of `query` that are behind.
fn connections_url(query: &FeedQuery) -> String {
    let ids = query.connection_ids.iter().map(ToString::to_string);
    let mut parameters = vec!["behind=true".to_owned()];
    for (name, values) in [
        ("provider", query.sources.clone()),
        ("connection_id", ids.collect()),
    ] {
        if !values.is_empty() {
            parameters.push(format!("{name}={}", values.join(",")));
        }
    }
    format!("/v1/connections?{}", parameters.join("&"))
}

impl From<Row> for Completeness {
    fn from(row: Row) -> Self {
        let error = row.error.as_deref();
        let behind = Behind::of(
            row.status,
            error,
            row.backfilled,
            row.overdue,
            row.held_back,
        );
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
