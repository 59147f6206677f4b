//! Webhook deliveries for the API: list, detail and reset.
//!
//! A delivery's id contains the time of receipt (UUID version 7), so the id alone determines its
//! daily partition.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{Page, PageRequest};
use super::{DbError, Json, TenantScope, Tx, sanitize};
use crate::model::{ConnectionId, DeliveryId, TenantId};

/// The outcome of a delivery.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    sqlx::Type,
    IntoStaticStr,
    EnumString,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "delivery_outcome", rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// Not processed yet.
    Pending,
    /// Its Signals and changes are stored.
    Processed,
    /// Readable, but of no kind that is stored.
    Ignored,
    /// Processing failed; `outcome_detail` has the reason.
    Failed,
    /// No connection matches it yet.
    Unmatched,
}

/// The source of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "delivery_source", rename_all = "snake_case")]
pub enum DeliverySource {
    /// The provider sent it.
    Webhook,
    /// A poll found it: a row of a list that could not be read.
    Poll,
}

/// A delivery without its headers and body.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// When it was received.
    pub received_at: DateTime<Utc>,
    /// The connection it was routed to.
    pub connection_id: Option<ConnectionId>,
    /// The provider's slug.
    pub provider: String,
    /// The provider's account that it names.
    pub account_id: Option<String>,
    /// The provider's id of the delivery.
    pub dedupe_id: String,
    /// The event's name; for a row of a list, the type of its stream.
    pub event: String,
    /// Its source.
    pub source: DeliverySource,
    /// Its outcome.
    pub outcome: DeliveryOutcome,
    /// The reason for the outcome, where there is one.
    pub outcome_detail: Option<String>,
    /// The number of its Signals.
    pub signals: i32,
    /// When it was last processed.
    pub processed_at: Option<DateTime<Utc>>,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

/// A delivery with its headers and body.
#[derive(Debug, Clone)]
pub struct DeliveryDetail {
    /// The delivery.
    pub delivery: Delivery,
    /// The stored headers.
    pub headers: Value,
    /// The body as received.
    pub body: Vec<u8>,
}

/// The filter of a list of deliveries; `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// The provider's slug.
    pub provider: Option<String>,
    /// Their outcome.
    pub outcome: Option<DeliveryOutcome>,
    /// The connection they were routed to.
    pub connection_id: Option<ConnectionId>,
}

/// A delivery that a replay was requested for.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ReplayTarget {
    /// The provider's slug.
    pub provider: String,
    /// The connection that it belongs to.
    pub connection_id: Option<ConnectionId>,
    /// Its source. Only webhook deliveries are reset.
    pub source: DeliverySource,
}

/// Lists a tenant's deliveries, newest first.
///
/// Scans the primary key backwards, one partition after the other.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    filter: &DeliveryFilter,
    request: &PageRequest,
) -> Result<Page<Delivery>, DbError> {
    let before = request.before.unwrap_or(Uuid::max());
    // Our own cursors are of version 7; without one, the list starts at the newest delivery.
    let received_before = received_at(before).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let received_before = received_before.min(far_future());
    let rows = sqlx::query_as::<_, Delivery>(
        "SELECT id, received_at, connection_id, provider, account_id, dedupe_id, event, outcome, \
                outcome_detail, signals, processed_at, traceparent, source \
         FROM deliveries \
         WHERE tenant_id = $1 AND (received_at, id) < ($2, $3) \
           AND ($5::text IS NULL OR provider = $5) \
           AND ($6::delivery_outcome IS NULL OR outcome = $6) \
           AND ($7::uuid IS NULL OR connection_id = $7) \
         ORDER BY received_at DESC, id DESC LIMIT $4",
    )
    .bind(scope.tenant_id())
    .bind(received_before)
    .bind(before)
    .bind(request.fetch_limit())
    .bind(filter.provider.as_deref())
    .bind(filter.outcome)
    .bind(filter.connection_id)
    .fetch_all(&mut **tx)
    .await?;
    Ok(request.page(rows, |delivery| delivery.id.0))
}

/// Returns a delivery with its headers and body.
pub async fn get(
    tx: &mut Tx,
    scope: &TenantScope,
    id: DeliveryId,
) -> Result<Option<DeliveryDetail>, DbError> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        delivery: Delivery,
        headers: Json<Value>,
        body: Vec<u8>,
    }
    let Some(received_at) = received_at(id.0) else {
        return Ok(None);
    };
    let row = sqlx::query_as::<_, Row>(
        "SELECT id, received_at, connection_id, provider, account_id, dedupe_id, event, outcome, \
                outcome_detail, signals, processed_at, traceparent, source, headers, body \
         FROM deliveries \
         WHERE tenant_id = $1 AND received_at >= $2 AND received_at < $3 AND id = $4",
    )
    .bind(scope.tenant_id())
    .bind(received_at)
    .bind(received_at + TimeDelta::milliseconds(1))
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| DeliveryDetail {
        delivery: row.delivery,
        headers: row.headers.0,
        body: row.body,
    }))
}

/// Resets a webhook delivery to pending, so that it can be processed again.
///
/// Returns `None` if the delivery does not exist. A row of a list is returned and not reset.
pub async fn reset(
    tx: &mut Tx,
    scope: &TenantScope,
    id: DeliveryId,
) -> Result<Option<ReplayTarget>, DbError> {
    let Some(received_at) = received_at(id.0) else {
        return Ok(None);
    };
    Ok(sqlx::query_as(
        "WITH target AS ( \
             SELECT received_at, provider, connection_id, source FROM deliveries \
             WHERE tenant_id = $1 AND received_at >= $2 AND received_at < $3 AND id = $4 \
         ), reset AS ( \
             UPDATE deliveries SET outcome = 'pending', outcome_detail = NULL, \
                 processed_at = NULL \
             WHERE tenant_id = $1 AND received_at >= $2 AND received_at < $3 AND id = $4 \
               AND source = 'webhook' \
         ) \
         SELECT provider, connection_id, source FROM target",
    )
    .bind(scope.tenant_id())
    .bind(received_at)
    .bind(received_at + TimeDelta::milliseconds(1))
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?)
}

/// Resets failed deliveries to pending when their dead-lettered job is retried.
pub(crate) async fn reset_failed(
    tx: &mut Tx,
    scope: &TenantScope,
    ids: &[DeliveryId],
) -> Result<(), DbError> {
    let times: Vec<_> = ids.iter().filter_map(|id| received_at(id.0)).collect();
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
        return Ok(());
    };
    sqlx::query(
        "UPDATE deliveries SET outcome = 'pending', outcome_detail = NULL, processed_at = NULL \
         WHERE tenant_id = $1 AND received_at >= $2 AND received_at < $3 AND id = ANY ($4) \
           AND outcome = 'failed'",
    )
    .bind(scope.tenant_id())
    .bind(first)
    .bind(*last + TimeDelta::milliseconds(1))
    .bind(ids)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Marks pending deliveries as failed when their job has ended without processing them.
///
/// A replay processes them again.
pub async fn fail_pending(
    tx: &mut Tx,
    keys: &[(TenantId, DeliveryId)],
    detail: &str,
) -> Result<(), DbError> {
    let keys: Vec<_> = keys.iter().filter(|(_, id)| id.carries_time()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let times: Vec<_> = keys.iter().map(|(_, id)| id.received_at()).collect();
    sqlx::query(
        "UPDATE deliveries d SET outcome = 'failed', outcome_detail = $4, processed_at = now() \
         FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) AS k(tenant_id, received_at, id) \
         WHERE d.tenant_id = k.tenant_id AND d.received_at = k.received_at AND d.id = k.id \
             AND d.received_at BETWEEN $5 AND $6 AND d.outcome = 'pending'",
    )
    .bind(keys.iter().map(|(tenant, _)| *tenant).collect::<Vec<_>>())
    .bind(&times)
    .bind(keys.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .bind(sanitize(detail))
    .bind(times.iter().min())
    .bind(times.iter().max())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The time of receipt in a delivery's id, to the millisecond; `None` for a foreign id.
fn received_at(id: Uuid) -> Option<DateTime<Utc>> {
    if id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanoseconds)
}

/// A time later than every delivery that Postgres can represent.
fn far_future() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_id_contains_its_time_of_receipt() {
        let id: Uuid = "0198c0de-0000-7000-8000-000000000000"
            .parse()
            .expect("a uuid");
        let at = received_at(id).expect("version 7");
        assert_eq!(at.timestamp_millis(), 0x0198_c0de_0000);
    }

    #[test]
    fn foreign_ids_have_no_time_of_receipt() {
        assert_eq!(received_at(Uuid::nil()), None);
        assert_eq!(received_at(Uuid::new_v4()), None);
        assert_eq!(received_at(Uuid::max()), None);
    }
}
