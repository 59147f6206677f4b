//! How far the feed is complete, connection by connection, so that a reader can tell "nothing
//! happened" from "we cannot see".
//!
//! Webhooks come as they come; what makes a span of time complete is that the provider was
//! asked about all of it. So a connection is complete up to where its last successful read
//! began, less the time that the provider takes to show a change, and only once everything
//! that the read wrote is below the feed's watermark.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::FeedQuery;
use super::rows::any_of;
use crate::db::TenantScope;
use crate::db::connections::ConnectionStatus;
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
    /// Why it does not advance at the moment; null when it does.
    pub behind: Option<Behind>,
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
}

/// The tenant's connections that are wanted, as one column of JSON. Served by the primary key
/// of `connections`.
pub(super) fn column(
    statement: &mut QueryBuilder<Postgres>,
    scope: &TenantScope,
    query: &FeedQuery,
) {
    statement
        .push(
            "(SELECT json_agg(c) FROM ( \
             SELECT id, provider, status, backfilled_at IS NOT NULL AS backfilled, \
                 last_error ->> 'code' AS error, \
                 coalesce(last_sync_at < now() - interval '1 minute' \
                     - 2 * poll_interval_seconds * interval '1 second', false) AS overdue, \
                 coalesce(complete_tx >= pg_snapshot_xmin(pg_current_snapshot()), false) \
                     AS held_back, \
                 CASE WHEN complete_tx < pg_snapshot_xmin(pg_current_snapshot()) \
                     THEN complete_through ELSE settled_through END AS through \
             FROM connections WHERE tenant_id = ",
        )
        .push_bind(scope.tenant_id());
    any_of(statement, "provider", &query.sources);
    any_of(statement, "id", &query.connection_ids);
    statement.push(" ORDER BY id DESC LIMIT 500) c) AS connections");
}

impl From<Row> for Completeness {
    fn from(row: Row) -> Self {
        let behind = row.behind();
        Self {
            connection_id: row.id,
            source: row.provider,
            complete_through: row.through,
            behind,
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
            Some(_) => Some(Behind::Failing),
            None if !self.backfilled => Some(Behind::Backfilling),
            None if self.overdue => Some(Behind::Overdue),
            None if self.held_back => Some(Behind::HeldBack),
            None => None,
        }
    }
}
