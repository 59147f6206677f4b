//! The rows of a page, read in one of the feed's two orders.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};

use super::completeness::{self, FeedCompleteness};
use super::cursor::Position;
use super::filter::push_any_of;
use super::state::{FROM_CURRENT_GENERATION, STATE_COLUMNS, State, parse_tx_id};
use super::{FeedError, FeedQuery};
use crate::db::{DbError, Json, TenantScope, Tx};
use crate::model::{SignalId, SignalKind};
use crate::signals::signal::StoredBody;
use crate::signals::{Payload, Signal};

/// An order of the feed and the position after which a page starts.
pub(super) enum Order {
    /// After this row, below the watermark.
    Feed { tx_id: u64, seq: i64 },
    /// Before this row by the providers' time; `None` starts at the newest.
    Recent {
        before: Option<(DateTime<Utc>, SignalId)>,
    },
}

/// The columns of a Signal.
///
/// `tx_id` is selected as text under another name: `ORDER BY` would sort by an alias `tx_id`,
/// and as text 9999 sorts after 10000.
pub(super) fn columns(include_raw: bool) -> &'static str {
    if include_raw {
        "id, connection_id, source, kind, dedupe_key, occurred_at, received_at, \
         schema_version, body, tx_id::text AS tx_id_text, seq, raw"
    } else {
        "id, connection_id, source, kind, dedupe_key, occurred_at, received_at, \
         schema_version, body, tx_id::text AS tx_id_text, seq"
    }
}

/// The maximum number of rows that a filtered page scans.
///
/// It bounds the cost of a page whose filters match few rows.
const MAX_SCANNED_ROWS: u32 = 2_000;

/// Whether filters may skip rows in this order.
///
/// In time order `since` and `until` bound the index scan and skip nothing.
fn has_filters(order: &Order, query: &FeedQuery) -> bool {
    let by_time = query.since.is_some() || query.until.is_some();
    !query.sources.is_empty()
        || !query.kinds.is_empty()
        || !query.connection_ids.is_empty()
        || (by_time && matches!(order, Order::Feed { .. }))
}

/// The position at which the scan of a filtered page ended; `None` if it reached the end.
///
/// Served by the same index as the page.
pub(super) async fn find_scan_end(
    tx: &mut Tx,
    scope: &TenantScope,
    order: &Order,
    watermark: u64,
    query: &FeedQuery,
) -> Result<Option<Position>, DbError> {
    if !has_filters(order, query) {
        return Ok(None);
    }
    let mut statement = QueryBuilder::new(match order {
        Order::Feed { .. } => "SELECT tx_id::text AS tx_id_text, seq",
        Order::Recent { .. } => "SELECT occurred_at, id",
    });
    push_following_rows(&mut statement, scope, order, Some(watermark), query);
    statement.push(format!(" OFFSET {} LIMIT 1", MAX_SCANNED_ROWS - 1));
    let row = statement.build();
    let row = row.fetch_optional(&mut **tx).await?;
    row.map(|row| position(&row, order)).transpose()
}

/// The rows of a page with the state and the completeness of the same snapshot.
pub(super) struct PageRows {
    pub(super) state: State,
    pub(super) completeness: FeedCompleteness,
    /// Each row with the position after it.
    pub(super) rows: Vec<(Position, PgRow)>,
}

/// Reads a page's rows with the feed's state and completeness.
///
/// It is one statement, so that all of them come from one snapshot.
pub(super) async fn load_rows(
    tx: &mut Tx,
    scope: &TenantScope,
    order: &Order,
    query: &FeedQuery,
) -> Result<PageRows, FeedError> {
    let columns = columns(query.include_raw);
    // The state comes once: with the first row, or alone if there is none.
    let mut statement = QueryBuilder::new(format!(
        "SELECT CASE WHEN row_number() OVER () = 1 THEN row_to_json(s) END AS state, {columns} \
         FROM (SELECT {STATE_COLUMNS}, "
    ));
    completeness::push_column(&mut statement, scope, query);
    statement.push(format!(" {FROM_CURRENT_GENERATION}) s LEFT JOIN LATERAL ("));
    push_page(&mut statement, scope, order, query);
    statement.push(") p ON true");
    let rows = statement.build().fetch_all(&mut **tx).await;
    let rows = rows.map_err(DbError::from)?;
    let first = rows
        .first()
        .ok_or(DbError::Corrupt("the feed has no generation"))?;
    let Json(PageState {
        state,
        completeness,
    }) = first.try_get("state").map_err(DbError::from)?;
    let first_id: Option<SignalId> = first.try_get("id").map_err(DbError::from)?;
    let mut rows = if first_id.is_some() {
        with_positions(rows, order)?
    } else {
        Vec::new()
    };
    // SQL does not guarantee the order of the lateral join's rows.
    rows.sort_by(|(one, _), (other, _)| match order {
        Order::Feed { .. } => one.cmp(other),
        Order::Recent { .. } => other.cmp(one),
    });
    Ok(PageRows {
        state: state.verify()?,
        completeness: completeness.into_completeness(query),
        rows,
    })
}

/// The feed's state and completeness, as the first row of a page carries them.
#[derive(Deserialize)]
struct PageState {
    #[serde(flatten)]
    state: State,
    completeness: completeness::Column,
}

fn with_positions(rows: Vec<PgRow>, order: &Order) -> Result<Vec<(Position, PgRow)>, DbError> {
    rows.into_iter()
        .map(|row| Ok((position(&row, order)?, row)))
        .collect()
}

/// Appends the statement of a page, served by `signals_feed` or `signals_recent`.
///
/// Only the filters that are set appear, and the limit is part of the text, so that one generic
/// plan with exact limits serves each text; every other value is bound. Filters apply to the
/// scanned rows and have no indexes.
fn push_page(
    statement: &mut QueryBuilder<Postgres>,
    scope: &TenantScope,
    order: &Order,
    query: &FeedQuery,
) {
    statement.push("SELECT *");
    if has_filters(order, query) {
        statement.push(" FROM (SELECT *");
        push_following_rows(statement, scope, order, None, query);
        statement.push(format!(" LIMIT {MAX_SCANNED_ROWS}"));
        statement.push(") signals WHERE true");
        push_filters(statement, order, query);
        statement.push(order_by(order));
    } else {
        push_following_rows(statement, scope, order, None, query);
    }
    statement.push(format!(" LIMIT {}", query.limit + 1));
}

fn push_filters(statement: &mut QueryBuilder<Postgres>, order: &Order, query: &FeedQuery) {
    let kinds: Vec<&str> = query.kinds.iter().map(|kind| kind.as_str()).collect();
    push_any_of(statement, "source", &query.sources);
    push_any_of(statement, "kind", &kinds);
    push_any_of(statement, "connection_id", &query.connection_ids);
    if matches!(order, Order::Feed { .. }) {
        push_time_range(statement, query);
    }
}

/// Appends the tenant's rows after the page's position, in its order and without filters.
///
/// In time order `since` and `until` apply.
fn push_following_rows(
    statement: &mut QueryBuilder<Postgres>,
    scope: &TenantScope,
    order: &Order,
    watermark: Option<u64>,
    query: &FeedQuery,
) {
    statement
        .push(" FROM signals WHERE tenant_id = ")
        .push_bind(scope.tenant_id());
    match order {
        Order::Feed { tx_id, seq } => {
            statement
                .push(" AND (tx_id, seq) > (")
                .push_bind(tx_id.to_string());
            statement.push("::text::xid8, ").push_bind(*seq);
            statement.push(") AND tx_id < ");
            match watermark {
                // A later statement of the page keeps the watermark of the first.
                Some(watermark) => {
                    statement.push_bind(watermark.to_string());
                    statement.push("::text::xid8");
                }
                None => {
                    statement.push("pg_snapshot_xmin(pg_current_snapshot())");
                }
            }
        }
        Order::Recent { before } => {
            if let Some((occurred_at, id)) = before {
                statement
                    .push(" AND (occurred_at, id) < (")
                    .push_bind(*occurred_at);
                statement.push(", ").push_bind(*id).push(")");
            }
            push_time_range(statement, query);
        }
    }
    statement.push(order_by(order));
}

fn push_time_range(statement: &mut QueryBuilder<Postgres>, query: &FeedQuery) {
    if let Some(since) = query.since {
        statement.push(" AND occurred_at >= ").push_bind(since);
    }
    if let Some(until) = query.until {
        statement.push(" AND occurred_at < ").push_bind(until);
    }
}

const fn order_by(order: &Order) -> &'static str {
    match order {
        Order::Feed { .. } => " ORDER BY tx_id, seq",
        Order::Recent { .. } => " ORDER BY occurred_at DESC, id DESC",
    }
}

/// The position after a row.
fn position(row: &PgRow, order: &Order) -> Result<Position, DbError> {
    Ok(match order {
        Order::Feed { .. } => Position::Feed {
            tx_id: parse_tx_id(row.try_get("tx_id_text")?)?,
            seq: row.try_get("seq")?,
        },
        Order::Recent { .. } => Position::Recent {
            occurred_at: row.try_get("occurred_at")?,
            id: row.try_get("id")?,
        },
    })
}

/// Reads a Signal from a row.
pub(super) fn read_signal(
    row: &PgRow,
    scope: &TenantScope,
    include_raw: bool,
) -> Result<Signal, DbError> {
    let Json(body): Json<StoredBody> = row.try_get("body")?;
    let kind: String = row.try_get("kind")?;
    let raw = if include_raw {
        let Json(raw): Json<Box<RawValue>> = row.try_get("raw")?;
        Some(raw)
    } else {
        None
    };
    Ok(Signal {
        id: row.try_get("id")?,
        tenant_id: scope.tenant_id(),
        connection_id: row.try_get("connection_id")?,
        source: row.try_get("source")?,
        kind: SignalKind::from_str(&kind)
            .map_err(|_| DbError::Corrupt("a Signal's kind is unknown"))?,
        dedupe_key: row.try_get("dedupe_key")?,
        timestamp: row.try_get("occurred_at")?,
        timestamp_source: body.timestamp_source,
        received_at: row.try_get("received_at")?,
        actor: body.actor,
        subject: body.subject,
        context: body.context,
        payload: Payload {
            normalized: body.normalized,
            raw,
        },
        schema_version: row.try_get("schema_version")?,
    })
}
