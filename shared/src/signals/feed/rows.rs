//! Rows of the feed, read in one of its two orders.

use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::FeedQuery;
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

/// Served by `signals_feed` or `signals_recent`. Only the filters that are set appear, so
/// that the plan never has to guess; every value is bound.
pub(super) async fn select(
    tx: &mut Tx,
    scope: &TenantScope,
    order: &Order,
    query: &FeedQuery,
) -> Result<Vec<PgRow>, DbError> {
    let mut statement = sqlx::QueryBuilder::new("SELECT ");
    statement.push(columns(query.include_raw));
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
        Order::Recent {
            before: Some((occurred_at, id)),
        } => {
            statement
                .push(" AND (occurred_at, id) < (")
                .push_bind(*occurred_at);
            statement.push(", ").push_bind(*id).push(")");
        }
        Order::Recent { before: None } => {}
    }
    if !query.sources.is_empty() {
        statement
            .push(" AND source = ANY (")
            .push_bind(query.sources.clone())
            .push(")");
    }
    if !query.kinds.is_empty() {
        let kinds: Vec<String> = query
            .kinds
            .iter()
            .map(|kind| kind.as_str().to_owned())
            .collect();
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
    if let Some(since) = query.since {
        statement.push(" AND occurred_at >= ").push_bind(since);
    }
    if let Some(until) = query.until {
        statement.push(" AND occurred_at < ").push_bind(until);
    }
    statement.push(match order {
        Order::Feed { .. } => " ORDER BY tx_id, seq LIMIT ",
        Order::Recent { .. } => " ORDER BY occurred_at DESC, id DESC LIMIT ",
    });
    statement.push_bind(i64::from(query.limit) + 1);
    Ok(statement.build().fetch_all(&mut **tx).await?)
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
