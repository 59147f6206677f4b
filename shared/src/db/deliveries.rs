//! Webhook deliveries for the API: list, detail and reset.
//!
//! A delivery's id contains the time of receipt (UUID version 7), so the id alone determines its
//! daily partition.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, Condition, DerivePartialModel, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    Select,
};
use serde_json::Value;
use uuid::Uuid;

use super::entities::deliveries::{ActiveModel, Column, Entity};
use super::orm::{Scoped, count_rows};
use super::page::{Page, PageRequest};
use super::{DbError, TenantScope, Tx, sanitize};
use crate::model::{ConnectionId, DeliveryId, TenantId};

pub use crate::model::{DeliveryOutcome, DeliverySource};

/// A delivery without its headers and body.
#[derive(Debug, Clone, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
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
#[derive(Debug, Clone, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct DeliveryDetail {
    /// The delivery.
    #[sea_orm(nested)]
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
    /// Only those that have been processed and can be replayed.
    pub is_replayable: bool,
}

/// A delivery that a replay was requested for.
#[derive(Debug, Clone, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
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
    let deliveries = matching(scope, filter, request.before);
    let rows: Vec<Delivery> = deliveries
        .order_by_desc(Column::ReceivedAt)
        .order_by_desc(Column::Id)
        .limit(request.fetch_limit().unsigned_abs())
        .into_partial_model()
        .all(&tx.orm())
        .await?;
    Ok(request.page(rows, |delivery| delivery.id.0))
}

/// Counts the deliveries of [`list`] that are older than `before`, up to `limit`.
pub async fn count(
    tx: &mut Tx,
    scope: &TenantScope,
    filter: &DeliveryFilter,
    before: Option<Uuid>,
    limit: u32,
) -> Result<i64, DbError> {
    let rows = matching(scope, filter, before)
        .select_only()
        .column(Column::Id)
        .limit(u64::from(limit));
    Ok(count_rows(tx, rows.into_query()).await?)
}

/// Selects a tenant's deliveries that are older than `before`.
fn matching(scope: &TenantScope, filter: &DeliveryFilter, before: Option<Uuid>) -> Select<Entity> {
    let mut deliveries = Entity::scoped(scope);
    // A cursor of ours is the id of a delivery; another one starts at the newest delivery.
    let before = before.and_then(|id| Some((received_at(id)?, id)));
    if let Some((received_at, id)) = before {
        let key = Expr::tuple([Column::ReceivedAt.into_expr(), Column::Id.into_expr()]);
        let before = Expr::tuple([Expr::val(received_at), Expr::val(id)]);
        deliveries = deliveries.filter(key.lt(before));
    }
    if let Some(provider) = &filter.provider {
        deliveries = deliveries.filter(Column::Provider.eq(provider));
    }
    if let Some(outcome) = filter.outcome {
        deliveries = deliveries.filter(Column::Outcome.eq(outcome));
    }
    if let Some(connection) = filter.connection_id {
        deliveries = deliveries.filter(Column::ConnectionId.eq(connection));
    }
    if filter.is_replayable {
        deliveries = deliveries
            .filter(Column::Source.eq(DeliverySource::Webhook))
            .filter(Column::Outcome.ne(DeliveryOutcome::Pending));
    }
    deliveries
}

/// Returns a delivery with its headers and body.
pub async fn get(
    tx: &mut Tx,
    scope: &TenantScope,
    id: DeliveryId,
) -> Result<Option<DeliveryDetail>, DbError> {
    let Some(key) = key_of(id) else {
        return Ok(None);
    };
    let delivery = Entity::scoped(scope).filter(key).into_partial_model();
    Ok(delivery.one(&tx.orm()).await?)
}

/// Resets a webhook delivery to pending, so that it can be processed again.
///
/// Returns `None` if the delivery does not exist. A row of a list is returned and not reset.
pub async fn reset(
    tx: &mut Tx,
    scope: &TenantScope,
    id: DeliveryId,
) -> Result<Option<ReplayTarget>, DbError> {
    let Some(key) = key_of(id) else {
        return Ok(None);
    };
    Entity::update_scoped(scope)
        .set(pending_again())
        .filter(key.clone())
        .filter(Column::Source.eq(DeliverySource::Webhook))
        .exec(&tx.orm())
        .await?;
    let target = Entity::scoped(scope).filter(key).into_partial_model();
    Ok(target.one(&tx.orm()).await?)
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
    Entity::update_scoped(scope)
        .set(pending_again())
        .filter(Column::ReceivedAt.gte(*first))
        .filter(Column::ReceivedAt.lt(*last + TimeDelta::milliseconds(1)))
        .filter(Column::Id.eq_any(ids.iter().copied()))
        .filter(Column::Outcome.eq(DeliveryOutcome::Failed))
        .exec(&tx.orm())
        .await?;
    Ok(())
}

fn pending_again() -> ActiveModel {
    ActiveModel {
        outcome: Set(DeliveryOutcome::Pending),
        outcome_detail: Set(None),
        processed_at: Set(None),
        ..Default::default()
    }
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

/// The condition that selects a delivery from its partition; `None` for a foreign id.
fn key_of(id: DeliveryId) -> Option<Condition> {
    let received_at = received_at(id.0)?;
    let key = Condition::all()
        .add(Column::ReceivedAt.gte(received_at))
        .add(Column::ReceivedAt.lt(received_at + TimeDelta::milliseconds(1)))
        .add(Column::Id.eq(id));
    Some(key)
}

/// The time of receipt in a delivery's id, to the millisecond; `None` for a foreign id.
fn received_at(id: Uuid) -> Option<DateTime<Utc>> {
    if id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanoseconds)
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
