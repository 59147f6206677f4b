//! Rows of the feed, read in one of its two orders.

use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};

use super::FeedQuery;
use super::cursor::Position;
use crate::db::{DbError, TenantScope, Tx};
use crate::ids::SignalId;
use crate::signals::signal::Body;
use crate::signals::{Payload, Signal, SignalKind};

/// Which rows follow, and how they are sorted.
pub(super) enum Order {
    /// Behind this row, below the watermark.
    Feed {
        tx_id: u64,
        seq: i64,
        watermark: u64,
    },
    /// Before this row by the providers' time; from the newest without one.
    Recent {
        before: Option<(DateTime<Utc>, SignalId)>,
    },
}

/// `tx_id` is given out as text under another name: an alias would be what `ORDER BY` sorts
/// by, and as text 9999 comes after 10000.
pub(super) fn columns(include_raw: bool) -> &'static str {
    if include_raw {
        "id, tenant_id, connection_id, source, kind, occurred_at, received_at, schema_version, \
         body, tx_id::text AS tx_id_text, seq, raw"
    } else {
        "id, tenant_id, connection_id, source, kind, occurred_at, received_at, schema_version, \
         body, tx_id::text AS tx_id_text, seq"
    }
}

/// Rows that one page looks at when its filters may pass over most of them: what a page costs
/// does not depend on how rare its Signals are.
const LOOKED_AT: i64 = 2_000;

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
    query: &FeedQuery,
) -> Result<Option<Position>, DbError> {
    if !filtered(order, query) {
        return Ok(None);
    }
    let mut statement = QueryBuilder::new(match order {
        Order::Feed { .. } => "SELECT tx_id::text AS tx_id_text, seq",
        Order::Recent { .. } => "SELECT occurred_at, id",
    });
    following(&mut statement, scope, order, query);
    statement.push(" OFFSET ").push_bind(LOOKED_AT - 1);
    let row = statement.push(" LIMIT 1").build();
    let row = row.fetch_optional(&mut **tx).await?;
    row.map(|row| position(&row, order)).transpose()
}

/// Served by `signals_feed` or `signals_recent`. Only the filters that are set appear, so
/// that the plan never has to guess; every value is bound. Filters look at the rows that follow,
/// not for an index of their own.
pub(super) async fn select(
    tx: &mut Tx,
    scope: &TenantScope,
    order: &Order,
    query: &FeedQuery,
) -> Result<Vec<PgRow>, DbError> {
    let mut statement = QueryBuilder::new("SELECT ");
    statement.push(columns(query.include_raw));
    if filtered(order, query) {
        statement.push(" FROM (SELECT *");
        following(&mut statement, scope, order, query);
        statement.push(" LIMIT ").push_bind(LOOKED_AT);
        statement.push(") signals WHERE true");
        filters(&mut statement, order, query);
        statement.push(sorted(order));
    } else {
        following(&mut statement, scope, order, query);
    }
    statement
        .push(" LIMIT ")
        .push_bind(i64::from(query.limit) + 1);
    Ok(statement.build().fetch_all(&mut **tx).await?)
}

fn filters(statement: &mut QueryBuilder<Postgres>, order: &Order, query: &FeedQuery) {
    if !query.sources.is_empty() {
        statement
            .push(" AND source = ANY (")
            .push_bind(query.sources.clone())
            .push(")");
    }
    if !query.kinds.is_empty() {
        let kinds: Vec<&str> = query.kinds.iter().map(|kind| kind.as_str()).collect();
        statement
            .push(" AND kind = ANY (")
            .push_bind(kinds)
            .push(")");
    }
    if !query.connection_ids.is_empty() {
        statement
            .push(" AND connection_id = ANY (")
            .push_bind(query.connection_ids.clone())
            .push(")");
    }
    if matches!(order, Order::Feed { .. }) {
        span(statement, query);
    }
}

/// The rows of the tenant that follow, in their order, whatever the filters; in time order, those
/// of the span.
fn following(
    statement: &mut QueryBuilder<Postgres>,
    scope: &TenantScope,
    order: &Order,
    query: &FeedQuery,
) {
    statement
        .push(" FROM signals WHERE tenant_id = ")
        .push_bind(scope.tenant_id());
    match order {
        Order::Feed {
            tx_id,
            seq,
            watermark,
        } => {
            statement
                .push(" AND (tx_id, seq) > (")
                .push_bind(tx_id.to_string());
            statement.push("::text::xid8, ").push_bind(*seq);
            statement
                .push(") AND tx_id < ")
                .push_bind(watermark.to_string());
            statement.push("::text::xid8");
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
pub(super) fn position(row: &PgRow, order: &Order) -> Result<Position, DbError> {
    Ok(match order {
        Order::Feed { .. } => Position::Feed {
            tx_id: number(row, "tx_id_text")?,
            seq: row.try_get("seq")?,
        },
        Order::Recent { .. } => Position::Recent {
            occurred_at: row.try_get("occurred_at")?,
            id: row.try_get("id")?,
        },
    })
}

pub(super) fn signal(row: &PgRow, include_raw: bool) -> Result<Signal, DbError> {
    let body: Json<Body<Box<RawValue>>> = row.try_get("body")?;
    let body = body.0;
    let kind: String = row.try_get("kind")?;
    let raw = if include_raw {
        let raw: Json<Box<RawValue>> = row.try_get("raw")?;
        Some(Arc::from(raw.0))
    } else {
        None
    };
    Ok(Signal {
        id: row.try_get("id")?,
        tenant_id: row.try_get("tenant_id")?,
        connection_id: row.try_get("connection_id")?,
        source: row.try_get("source")?,
        kind: SignalKind::from_str(&kind)
            .map_err(|_| DbError::Corrupt("a Signal's kind is unknown"))?,
        timestamp: row.try_get("occurred_at")?,
        received_at: row.try_get("received_at")?,
        actor: body.actor,
        subject: body.subject,
        context: body.context,
        payload: Payload {
            normalized: Arc::from(body.normalized),
            raw,
        },
        schema_version: row.try_get("schema_version")?,
    })
}

pub(super) fn number(row: &PgRow, column: &str) -> Result<u64, DbError> {
    let text: String = row.try_get(column)?;
    text.parse()
        .map_err(|_| DbError::Corrupt("a transaction id is not a number"))
}
