//! The statement that stores a batch of deliveries.

use std::sync::Arc;

use sqlx::Row;

use super::VerifiedDelivery;
use crate::db::{Db, DbError, sanitize, sanitize_json};
use crate::model::{DeliveryId, JobId, JobKind, TenantId};
use crate::queue::insert_jobs;

/// The result of storing a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It is new and now durable.
    New,
    /// It is known already; nothing was written.
    Duplicate,
    /// It is new and unmatched, but above the quota: only its dedupe id is durable.
    DigestOnly,
    /// Its tenant's share of the backlog is used up; nothing was written.
    Rejected,
}

/// The quotas' state as last measured before a batch is stored.
#[derive(Debug, Clone, Default)]
pub struct StoreLimits {
    /// Tenants whose share of the backlog is used up.
    pub full_tenants: Arc<[TenantId]>,
    /// The maximum number of bytes of unmatched deliveries of one account.
    pub unmatched_account_bytes: u64,
    /// Whether the quota of unmatched deliveries of all accounts is used up.
    pub is_unmatched_full: bool,
}

/// Stores a batch in one statement, which is its own transaction.
///
/// Returns one outcome per delivery, in the batch's order. `Ok` means that the statement is
/// committed.
pub async fn store(
    db: &Db,
    batch: &[VerifiedDelivery],
    limits: &StoreLimits,
) -> Result<Vec<StoreOutcome>, DbError> {
    let column = |read: fn(&VerifiedDelivery) -> String| batch.iter().map(read).collect::<Vec<_>>();
    let routes: Vec<(i64, &(String, DeliveryId))> = (1_i64..)
        .zip(batch)
        .flat_map(|(ord, delivery)| delivery.routes.iter().map(move |route| (ord, route)))
        .collect();
    let rows = sqlx::query(concat!(
        include_str!("store.sql"),
        ", queued AS (",
        insert_jobs!(),
        ") SELECT ord, false AS rejected, bool_and(digest_only) AS digest_only FROM chosen \
           GROUP BY ord UNION ALL SELECT ord, true, false FROM routed WHERE rejected"
    ))
    .bind(batch.iter().map(|d| d.id).collect::<Vec<_>>())
    .bind(batch.iter().map(|d| d.received_at).collect::<Vec<_>>())
    .bind(column(|d| d.provider.to_owned()))
    .bind(column(|d| sanitize(&d.receipt.dedupe_id).into_owned()))
    .bind(column(|d| sanitize(&d.receipt.event).into_owned()))
    .bind(column(|d| sanitize_json(&d.headers).into_owned()))
    .bind(
        batch
            .iter()
            .map(|d| d.body.as_ref())
            .collect::<Vec<&[u8]>>(),
    )
    .bind(
        batch
            .iter()
            .map(|d| d.traceparent.clone())
            .collect::<Vec<_>>(),
    )
    .bind(batch.iter().map(|_| JobId::generate()).collect::<Vec<_>>())
    .bind(JobKind::ProcessDeliveries.priority())
    .bind(routes.iter().map(|(ord, _)| *ord).collect::<Vec<_>>())
    .bind(
        routes
            .iter()
            .map(|(_, (route, _))| sanitize(route))
            .collect::<Vec<_>>(),
    )
    .bind(routes.iter().map(|(_, (_, id))| *id).collect::<Vec<_>>())
    .bind(
        batch
            .iter()
            .map(|d| i64::try_from(d.size()).unwrap_or(i64::MAX))
            .collect::<Vec<_>>(),
    )
    .bind(
        batch
            .iter()
            .map(|d| d.connection.map(|own| own.tenant))
            .collect::<Vec<_>>(),
    )
    .bind(
        batch
            .iter()
            .map(|d| d.connection.map(|own| own.connection))
            .collect::<Vec<_>>(),
    )
    .bind(&*limits.full_tenants)
    .bind(i64::try_from(limits.unmatched_account_bytes).unwrap_or(i64::MAX))
    .bind(limits.is_unmatched_full)
    .fetch_all(db)
    .await?;
    let mut outcomes = vec![StoreOutcome::Duplicate; batch.len()];
    for row in &rows {
        let ord: i64 = row.try_get("ord")?;
        let index = usize::try_from(ord - 1).unwrap_or(usize::MAX);
        let Some(outcome) = outcomes.get_mut(index) else {
            continue;
        };
        // One rejected route rejects the delivery: when it is sent again, the others are duplicates.
        if row.try_get("rejected")? {
            *outcome = StoreOutcome::Rejected;
        } else if *outcome != StoreOutcome::Rejected {
            *outcome = if row.try_get("digest_only")? {
                StoreOutcome::DigestOnly
            } else {
                StoreOutcome::New
            };
        }
    }
    Ok(outcomes)
}
