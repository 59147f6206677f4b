//! The one statement that makes deliveries durable.

use std::collections::HashSet;

use sqlx::Row;

use super::VerifiedDelivery;
use crate::db::{Db, DbError, storable};
use crate::ids::{DeliveryId, JobId};
use crate::queue::JobKind;

/// What became of a delivery that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is new, and durable now.
    Fresh,
    /// It had been seen before; nothing was written.
    Duplicate,
}

/// Files a batch in one statement, which commits by itself. The answers are in the batch's
/// order. Every delivery of the batch is durable when this returns `Ok`.
pub async fn store(db: &Db, batch: &[VerifiedDelivery]) -> Result<Vec<Stored>, DbError> {
    let column = |read: fn(&VerifiedDelivery) -> String| batch.iter().map(read).collect::<Vec<_>>();
    let routes: Vec<(i64, &(String, DeliveryId))> = (1_i64..)
        .zip(batch)
        .flat_map(|(ord, delivery)| delivery.routes.iter().map(move |route| (ord, route)))
        .collect();
    let rows = sqlx::query(include_str!("store.sql"))
        .bind(batch.iter().map(|d| d.id).collect::<Vec<_>>())
        .bind(batch.iter().map(|d| d.received_at).collect::<Vec<_>>())
        .bind(column(|d| d.provider.to_owned()))
        .bind(column(|d| storable(&d.receipt.dedupe_id).into_owned()))
        .bind(column(|d| storable(&d.receipt.event).into_owned()))
        .bind(column(|d| d.headers.clone()))
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
        .fetch_all(db)
        .await?;
    let fresh = rows
        .iter()
        .map(|row| row.try_get::<i64, _>("ord"))
        .collect::<Result<HashSet<_>, _>>()?;
    Ok((1_i64..)
        .take(batch.len())
        .map(|ord| {
            if fresh.contains(&ord) {
                Stored::Fresh
            } else {
                Stored::Duplicate
            }
        })
        .collect())
}
