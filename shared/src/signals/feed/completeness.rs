//! Completeness of the feed, per connection.
//!
//! It lets a reader distinguish "nothing happened" from "not read yet". Webhooks may be lost, so
//! only reads make a span of time complete: a stream is complete up to the start of its last
//! successful read, minus the time in which the provider makes a change visible; a connection,
//! up to the minimum of its streams, once everything that was read is below the feed's
//! watermark. Lists do not show some facts as they happen (replies in old threads, edits, rows
//! that are indexed late); these are complete up to the last reconciliation pass.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::FeedQuery;
use super::filter::push_any_of;
use crate::db::TenantScope;
use crate::db::connections::{
    Behind, ConnectionStatus, below_watermark, is_behind, is_held_back, is_overdue,
};
use crate::db::cursors::HeldBackBy;
use crate::model::ConnectionId;

/// The completeness of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Completeness {
    /// The connection.
    pub connection_id: ConnectionId,
    /// The provider's slug.
    #[schema(example = "github")]
    pub source: String,
    /// The time before which every fact is in the feed: a reader has all of them after a page
    /// without `has_more`. Null until the backfill ends. A fact that is older than its appearance
    /// at the provider, such as a file uploaded with its old date, counts from its appearance.
    pub complete_through: Option<DateTime<Utc>>,
    /// The same time for facts that only the reconciliation pass finds: replies in old threads,
    /// edits, rows that the provider lists late.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// The reason why `complete_through` does not advance; null while it does.
    pub behind: Option<Behind>,
    /// The stream that holds these times back, why, and since when; null if none does.
    pub held_back_by: Option<HeldBackBy>,
}

/// The completeness of the feed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FeedCompleteness {
    /// The minimum over all connections that match the filters; null while one has none.
    pub complete_through: Option<DateTime<Utc>>,
    /// The minimum over all connections that match the filters; null while one has none.
    pub reconciled_through: Option<DateTime<Utc>>,
    /// The number of connections that match the filters, without disconnected ones.
    pub total: i64,
    /// The number of them whose completeness does not advance.
    pub behind: i64,
    /// The first hundred connections, those that are behind first.
    pub connections: Vec<Completeness>,
    /// The path that lists all connections behind, with the same filters.
    #[schema(example = "/v1/connections?behind=true")]
    pub connections_url: String,
}

/// A connection in the JSON of [`push_column`].
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

/// The maximum number of connections on a page.
const MAX_LISTED: i64 = 100;

/// Appends the completeness of the matching connections as one JSON column.
///
/// Served by the primary key of `connections`.
pub(super) fn push_column(
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
            below_watermark!("complete_through", "previous_complete_through"),
            " AS through, ",
            below_watermark!("reconciled_through", "previous_reconciled_through"),
            " AS reconciled_through \
             FROM connections WHERE tenant_id = ",
        ))
        .push_bind(scope.tenant_id());
    push_any_of(statement, "provider", &query.sources);
    push_any_of(statement, "id", &query.connection_ids);
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

/// The JSON of [`push_column`].
#[derive(Debug, Deserialize)]
pub(super) struct Column {
    total: i64,
    behind: i64,
    complete_through: Option<DateTime<Utc>>,
    reconciled_through: Option<DateTime<Utc>>,
    connections: Vec<Row>,
}

impl Column {
    /// Converts the column, with the URL that lists the connections behind.
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

/// The path that lists the connections of `query` that are behind.
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
        let behind = Behind::from_state(
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
