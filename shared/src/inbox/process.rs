//! Reading stored deliveries back, and writing down what became of them.

use bytes::Bytes;
use sqlx::Row;
use sqlx::types::Json;

use super::delivery::{carries_time, received_at};
use crate::connectors::WebhookDelivery;
use crate::db::{DbError, Tx};
use crate::ids::{ConnectionId, DeliveryId, TenantId};

/// A delivery as it waits for processing.
#[derive(Debug)]
pub struct StoredDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Whose it is; [`TenantId::UNASSIGNED`] while it matches no connection.
    pub tenant_id: TenantId,
    /// The connection it was routed to.
    pub connection_id: Option<ConnectionId>,
    /// The provider's slug.
    pub provider: String,
    /// The account it is about.
    pub account_id: Option<String>,
    /// The trace of the request that brought it.
    pub traceparent: Option<String>,
    /// What the connector reads.
    pub delivery: WebhookDelivery,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which delivery.
    pub id: DeliveryId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// `processed`, `ignored`, `failed` or `unmatched`.
    pub outcome: &'static str,
    /// Why, where that is not plain; never the provider's words.
    pub detail: Option<String>,
    /// Signals it gave, known ones included.
    pub signals: i32,
}

/// Loads deliveries that are still pending. Served by the primary key: an id carries its
/// partition.
pub async fn load(
    tx: &mut Tx,
    keys: &[(TenantId, DeliveryId)],
) -> Result<Vec<StoredDelivery>, DbError> {
    let keys: Vec<_> = keys.iter().filter(|(_, id)| carries_time(id.0)).collect();
    let rows = sqlx::query(
        "SELECT d.tenant_id, d.id, d.connection_id, d.provider, d.account_id, d.traceparent, \
             d.headers, d.body, d.received_at \
         FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) AS k(tenant_id, received_at, id) \
         JOIN deliveries d ON d.tenant_id = k.tenant_id AND d.received_at = k.received_at \
             AND d.id = k.id \
         WHERE d.outcome = 'pending'",
    )
    .bind(keys.iter().map(|(tenant, _)| *tenant).collect::<Vec<_>>())
    .bind(
        keys.iter()
            .map(|(_, id)| received_at(*id))
            .collect::<Vec<_>>(),
    )
    .bind(keys.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            let headers: Json<serde_json::Map<String, serde_json::Value>> =
                row.try_get("headers")?;
            let headers = headers
                .0
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
                .collect();
            Ok(StoredDelivery {
                id: row.try_get("id")?,
                tenant_id: row.try_get("tenant_id")?,
                connection_id: row.try_get("connection_id")?,
                provider: row.try_get("provider")?,
                account_id: row.try_get("account_id")?,
                traceparent: row.try_get("traceparent")?,
                delivery: WebhookDelivery {
                    headers,
                    body: Bytes::from(row.try_get::<Vec<u8>, _>("body")?),
                    received_at: row.try_get("received_at")?,
                },
            })
        })
        .collect()
}

/// Writes down what became of deliveries.
pub async fn record(tx: &mut Tx, outcomes: &[Outcome]) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE deliveries d SET outcome = o.outcome::delivery_outcome, \
             outcome_detail = o.detail, signals = o.signals, processed_at = now() \
         FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::int[]) \
             AS o(tenant_id, received_at, id, outcome, detail, signals) \
         WHERE d.tenant_id = o.tenant_id AND d.received_at = o.received_at AND d.id = o.id",
    )
    .bind(outcomes.iter().map(|o| o.tenant_id).collect::<Vec<_>>())
    .bind(
        outcomes
            .iter()
            .map(|o| received_at(o.id))
            .collect::<Vec<_>>(),
    )
    .bind(outcomes.iter().map(|o| o.id).collect::<Vec<_>>())
    .bind(outcomes.iter().map(|o| o.outcome).collect::<Vec<_>>())
    .bind(
        outcomes
            .iter()
            .map(|o| o.detail.clone())
            .collect::<Vec<_>>(),
    )
    .bind(outcomes.iter().map(|o| o.signals).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
