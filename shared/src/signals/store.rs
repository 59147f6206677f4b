//! The insert of Signals: many in one statement, each fact once.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use metrics::counter;
use sqlx::Row;

use super::SCHEMA_VERSION;
use super::signal::Body;
use crate::db::{DbError, Tx, sanitize, sanitize_json};
use crate::model::{ConnectionId, SignalDraft, SignalId, TenantId};
use crate::telemetry::names;

/// A draft with the tenant, connection and time of receipt.
#[derive(Debug)]
pub struct NewSignal {
    /// The tenant that owns the Signal.
    pub tenant_id: TenantId,
    /// The connection that the fact was read through.
    pub connection_id: ConnectionId,
    /// The provider's slug.
    pub source: &'static str,
    /// When this service received it.
    pub received_at: DateTime<Utc>,
    /// The trace of the delivery or the job.
    pub traceparent: Option<String>,
    /// The fact.
    pub draft: SignalDraft,
}

/// Inserts new facts and returns when they happened; known facts stay unchanged.
///
/// The unique constraint `signals_once` decides which facts are new, without a lookup before.
pub async fn store(
    tx: &mut Tx,
    mut signals: Vec<NewSignal>,
) -> Result<Vec<DateTime<Utc>>, DbError> {
    if signals.is_empty() {
        return Ok(Vec::new());
    }
    for signal in &mut signals {
        signal.draft.cap_timestamp(signal.received_at);
    }
    // All writers insert in one order, so that two batches with common facts cannot deadlock.
    signals.sort_by(|a, b| {
        (a.tenant_id, a.source, &a.draft.dedupe_key).cmp(&(
            b.tenant_id,
            b.source,
            &b.draft.dedupe_key,
        ))
    });
    signals.dedup_by(|a, b| {
        a.tenant_id == b.tenant_id
            && a.source == b.source
            && a.draft.dedupe_key == b.draft.dedupe_key
    });
    let bodies = signals.iter().map(body).collect::<Result<Vec<_>, _>>()?;
    let rows = sqlx::query(include_str!("store.sql"))
        .bind(signals.iter().map(|s| s.tenant_id).collect::<Vec<_>>())
        .bind(
            signals
                .iter()
                .map(|_| SignalId::generate())
                .collect::<Vec<_>>(),
        )
        .bind(signals.iter().map(|s| s.connection_id).collect::<Vec<_>>())
        .bind(signals.iter().map(|s| s.source).collect::<Vec<_>>())
        .bind(
            signals
                .iter()
                .map(|s| s.draft.kind.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            signals
                .iter()
                .map(|s| sanitize(&s.draft.dedupe_key))
                .collect::<Vec<_>>(),
        )
        .bind(
            signals
                .iter()
                .map(|s| s.draft.timestamp)
                .collect::<Vec<_>>(),
        )
        .bind(signals.iter().map(|s| s.received_at).collect::<Vec<_>>())
        .bind(bodies)
        .bind(
            signals
                .iter()
                .map(|s| sanitize_json(s.draft.raw.get()))
                .collect::<Vec<_>>(),
        )
        .bind(
            signals
                .iter()
                .map(|s| s.traceparent.clone())
                .collect::<Vec<_>>(),
        )
        .bind(SCHEMA_VERSION)
        .fetch_all(&mut **tx)
        .await?;
    count_by_kind(&rows)?;
    rows.iter()
        .map(|row| Ok(row.try_get("occurred_at")?))
        .collect()
}

fn body(signal: &NewSignal) -> Result<String, DbError> {
    let draft = &signal.draft;
    let body = serde_json::to_string(&Body {
        timestamp_source: draft.timestamp_source,
        actor: &draft.actor,
        subject: &draft.subject,
        context: &draft.context,
        normalized: &draft.normalized,
    })
    .map_err(|_| DbError::Corrupt("a Signal cannot be serialized"))?;
    Ok(sanitize_json(&body).into_owned())
}

fn count_by_kind(rows: &[sqlx::postgres::PgRow]) -> Result<(), DbError> {
    let mut counts: HashMap<(String, String), u64> = HashMap::new();
    for row in rows {
        *counts
            .entry((row.try_get("source")?, row.try_get("kind")?))
            .or_default() += 1;
    }
    for ((source, kind), count) in counts {
        counter!(names::SIGNALS_TOTAL, "source" => source, "kind" => kind).increment(count);
    }
    Ok(())
}
