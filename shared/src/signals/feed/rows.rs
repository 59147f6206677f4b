//! Rows of the feed, read in one of its two orders.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{Encode, Postgres, QueryBuilder, Row, Type};

use super::completeness::{self, FeedCompleteness};
use super::cursor::Position;
use super::state::{NEWEST, STATE, State, number};
use super::{FeedError, FeedQuery};
use crate::db::{DbError, Json, TenantScope, Tx};
use crate::ids::SignalId;
use crate::signals::signal::StoredBody;
use crate::signals::{Payload, Signal, SignalKind};

/// Which rows follow, and how they are sorted.
pub(super) enum Order {
    /// Behind this row, below the watermark.
    Feed { tx_id: u64, seq: i64 },
    /// Before this row by the providers' time; from the newest without one.
    Recent {
        before: Option<(DateTime<Utc>, SignalId)>,
    },
}

/// `tx_id` is given out as text under another name: an alias would be what `ORDER BY` sorts
/// by, and as text 9999 comes after 10000.
pub(super) fn columns(include_raw: bool) -> &'static str {
    if include_raw {
        "id, connection_id, source, kind, dedupe_key, occurred_at, received_at, \
         schema_version, body, tx_id::text AS tx_id_text, seq, raw"
    } else {
        "id, connection_id, source, kind, dedupe_key, occurred_at, received_at, \
         schema_version, body, tx_id::text AS tx_id_text, seq"
    }
}

/// Rows that one page looks at when its filters may pass over most of them: what a page costs
/// does not depend on how rare its Signals are.
const LOOKED_AT: u32 = 2_000;

/// Whether filters may pass over rows of this order. A span of time is a span of time order.
fn filtered(order: &Order, query: &FeedQuery) -> bool {
    let by_time = query.since.is_some() || query.until.is_some();
    !query.sources.is_empty()
        || !query.kinds.is_empty()
        || !query.connection_ids.is_empty()
        || (by_time && matches!(order, Order::Feed { .. }))
}

/// Where a page stopped looking that filters have left room in; `None` when it saw everything.
/// Served by the same index as the page.
pub(super) async fn looked_until(
    tx: &mut Tx,
    scope: &TenantScope,
    order: &Order,
    watermark: u64,
    query: &FeedQuery,
) -> Result<Option<Position>, DbError> {
    if !filtered(order, query) {
        return Ok(None);
    }
    let mut statement = QueryBuilder::new(match order {
        Order::Feed { .. } => "SELECT tx_id::text AS tx_id_text, seq",
        Order::Recent { .. } => "SELECT occurred_at, id",
    });
    following(&mut statement, scope, order, Some(watermark), query);
    statement.push(format!(" OFFSET {} LIMIT 1", LOOKED_AT - 1));
    let row = statement.build();
    let row = row.fetch_optional(&mut **tx).await?;
    row.map(|row| position(&row, order)).transpose()
}

/// What a page is made of.
pub(super) struct Found {
    pub(super) state: State,
    pub(super) completeness: FeedCompleteness,
    /// Each with the place behind it.
    pub(super) rows: Vec<(Position, PgRow)>,
}

/// Reads a page's rows with what they are read against and how far they are complete: one
/// statement, so all out of one snapshot.
pub(super) async fn select(
    tx: &mut Tx,
    scope: &TenantScope,
    order: &Order,
    query: &FeedQuery,
) -> Result<Found, FeedError> {
    let columns = columns(query.include_raw);
    // What belongs to no Signal comes once, with the first of them or alone.
    let mut statement = QueryBuilder::new(format!(
        "SELECT CASE WHEN row_number() OVER () = 1 THEN row_to_json(s) END AS state, {columns} \
         FROM (SELECT {STATE}, "
    ));
    completeness::column(&mut statement, scope, query);
    statement.push(format!(" {NEWEST}) s LEFT JOIN LATERAL ("));
    page(&mut statement, scope, order, query);
    statement.push(") p ON true");
    let rows = statement.build().fetch_all(&mut **tx).await;
    let rows = rows.map_err(DbError::from)?;
    let first = rows
        .first()
        .ok_or(DbError::Corrupt("the feed has no generation"))?;
    let Json(Against {
        state,
        completeness,
    }) = first.try_get("state").map_err(DbError::from)?;
    let any: Option<SignalId> = first.try_get("id").map_err(DbError::from)?;
    let mut rows = if any.is_some() {
        placed(rows, order)?
    } else {
        Vec::new()
    };
    // They come sorted, but of a join SQL does not promise that.
    rows.sort_by(|(one, _), (other, _)| match order {
        Order::Feed { .. } => one.cmp(other),
        Order::Recent { .. } => other.cmp(one),
    });
    Ok(Found {
        state: state.checked()?,
        completeness: completeness.into_completeness(query),
        rows,
    })
}

/// What a page's rows are read against.
#[derive(Deserialize)]
struct Against {
    #[serde(flatten)]
    state: State,
    completeness: completeness::Column,
}

fn placed(rows: Vec<PgRow>, order: &Order) -> Result<Vec<(Position, PgRow)>, DbError> {
    rows.into_iter()
        .map(|row| Ok((position(&row, order)?, row)))
        .collect()
}

/// Served by `signals_feed` or `signals_recent`. Only the filters that are set appear, and how
/// many rows are wanted is part of the text, so that the plan never has to guess and is made
/// once; every other value is bound. Filters look at the rows that follow, not for an index of
/// their own.
fn page(
    statement: &mut QueryBuilder<Postgres>,
    scope: &TenantScope,
    order: &Order,
    query: &FeedQuery,
) {
    statement.push("SELECT *");
    if filtered(order, query) {
        statement.push(" FROM (SELECT *");
        following(statement, scope, order, None, query);
        statement.push(format!(" LIMIT {LOOKED_AT}"));
        statement.push(") signals WHERE true");
        filters(statement, order, query);
        statement.push(sorted(order));
    } else {
        following(statement, scope, order, None, query);
    }
    statement.push(format!(" LIMIT {}", query.limit + 1));
}

fn filters(statement: &mut QueryBuilder<Postgres>, order: &Order, query: &FeedQuery) {
    let kinds: Vec<&str> = query.kinds.iter().map(|kind| kind.as_str()).collect();
    any_of(statement, "source", &query.sources);
    any_of(statement, "kind", &kinds);
    any_of(statement, "connection_id", &query.connection_ids);
    if matches!(order, Order::Feed { .. }) {
        span(statement, query);
    }
}

/// One of these, unless there are none.
pub(super) fn any_of<T>(statement: &mut QueryBuilder<Postgres>, column: &str, values: &[T])
where
    T: Clone,
    Vec<T>: for<'q> Encode<'q, Postgres> + Type<Postgres>,
{
    if !values.is_empty() {
        statement.push(format!(" AND {column} = ANY ("));
        statement.push_bind(values.to_vec()).push(")");
    }
}

/// The rows of the tenant that follow, in their order, whatever the filters; in time order, those
/// of the span.
fn following(
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
                // A later statement sees no more than the first did.
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
            span(statement, query);
        }
    }
    statement.push(sorted(order));
}

fn span(statement: &mut QueryBuilder<Postgres>, query: &FeedQuery) {
    if let Some(since) = query.since {
        statement.push(" AND occurred_at >= ").push_bind(since);
    }
    if let Some(until) = query.until {
        statement.push(" AND occurred_at < ").push_bind(until);
    }
}

const fn sorted(order: &Order) -> &'static str {
    match order {
        Order::Feed { .. } => " ORDER BY tx_id, seq",
        Order::Recent { .. } => " ORDER BY occurred_at DESC, id DESC",
    }
}

/// The place behind a row.
fn position(row: &PgRow, order: &Order) -> Result<Position, DbError> {
    Ok(match order {
        Order::Feed { .. } => Position::Feed {
            tx_id: number(row.try_get("tx_id_text")?)?,
            seq: row.try_get("seq")?,
        },
        Order::Recent { .. } => Position::Recent {
            occurred_at: row.try_get("occurred_at")?,
            id: row.try_get("id")?,
        },
    })
}

pub(super) fn signal(
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
