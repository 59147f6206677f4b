//! The one statement that makes deliveries durable.

use std::sync::Arc;

use sqlx::Row;

use super::VerifiedDelivery;
use crate::db::{Db, DbError, storable, storable_json};
use crate::ids::{DeliveryId, JobId, TenantId};
use crate::queue::{JobKind, insert_jobs};

/// What became of a delivery that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is new, and durable now.
    Fresh,
    /// It had been seen before; nothing was written.
    Duplicate,
    /// It is new and matches no connection, and too much of that kind is kept already: only its
    /// id is durable.
    DigestOnly,
    /// Its tenant has too much to be processed already.
    Refused,
}

/// How much may be kept, as far as it is known when a batch is stored.
#[derive(Debug, Clone, Default)]
pub struct StoreLimits {
    /// Tenants that have their share of the backlog already.
    pub full_tenants: Arc<[TenantId]>,
    /// Bytes of one account's deliveries that match no connection.
    pub unmatched_account_bytes: u64,
    /// Whether all accounts together have as much as they may.
    pub is_unmatched_full: bool,
}

/// Files a batch in one statement, which commits by itself. The answers are in the batch's
/// order. Every delivery of the batch is durable when this returns `Ok`.
pub async fn store(
    db: &Db,
    batch: &[VerifiedDelivery],
    limits: &StoreLimits,
) -> Result<Vec<Stored>, DbError> {
    let column = |read: fn(&VerifiedDelivery) -> String| batch.iter().map(read).collect::<Vec<_>>();
    let routes: Vec<(i64, &(String, DeliveryId))> = (1_i64..)
        .zip(batch)
        .flat_map(|(ord, delivery)| delivery.routes.iter().map(move |route| (ord, route)))
        .collect();
    let rows = sqlx::query(concat!(
        include_str!("store.sql"),
        ", queued AS (",
        insert_jobs!(),
        ") SELECT ord, false AS refused, bool_and(digest_only) AS digest_only FROM chosen \
           GROUP BY ord UNION ALL SELECT ord, true, false FROM routed WHERE refused"
    ))
    .bind(batch.iter().map(|d| d.id).collect::<Vec<_>>())
    .bind(batch.iter().map(|d| d.received_at).collect::<Vec<_>>())
    .bind(column(|d| d.provider.to_owned()))
    .bind(column(|d| storable(&d.receipt.dedupe_id).into_owned()))
    .bind(column(|d| storable(&d.receipt.event).into_owned()))
    .bind(column(|d| storable_json(&d.headers).into_owned()))
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
            .map(|(_, (route, _))| storable(route))
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
    let mut stored = vec![Stored::Duplicate; batch.len()];
    for row in &rows {
        let ord: i64 = row.try_get("ord")?;
        let place = usize::try_from(ord - 1).unwrap_or(usize::MAX);
        let Some(place) = stored.get_mut(place) else {
            continue;
        };
        // One route that is refused is enough: sent again, the others are duplicates.
        if row.try_get("refused")? {
            *place = Stored::Refused;
        } else if *place != Stored::Refused {
            *place = if row.try_get("digest_only")? {
                Stored::DigestOnly
            } else {
                Stored::Fresh
            };
        }
    }
    Ok(stored)
}
