//! Reads stored deliveries and records their outcomes.

use bytes::Bytes;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::connectors::WebhookDelivery;
use crate::db::activity::is_delivery_unrecorded;
use crate::db::{DbError, Json, Tx, sanitize};
use crate::model::{ConnectionId, DeliveryId, ExternalAccount, Subscription, TenantId};

/// A delivery that waits to be processed.
#[derive(Debug)]
pub struct StoredDelivery {
    /// The delivery's id.
    pub id: DeliveryId,
    /// Its tenant; [`TenantId::UNASSIGNED`] while it matches no connection.
    pub tenant_id: TenantId,
    /// The connection it was routed to.
    pub connection_id: Option<ConnectionId>,
    /// The provider's slug.
    pub provider: String,
    /// The route in the request: an account, or a provider's other address.
    pub route: Option<String>,
    /// Whether it is a copy of another connection's delivery.
    pub is_copy: bool,
    /// Whether its connection is recorded as suspended or without a grant.
    ///
    /// A genuine delivery is evidence to the contrary.
    pub has_ended_grant: bool,
    /// Whether its connection's activity does not show a delivery of now.
    pub is_unrecorded: bool,
    /// The trace of its webhook request.
    pub traceparent: Option<String>,
    /// The connector's input.
    pub delivery: WebhookDelivery,
}

/// The result of processing a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The delivery's id.
    pub id: DeliveryId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// `processed`, `ignored`, `failed` or `unmatched`.
    pub outcome: &'static str,
    /// The reason, unless it is obvious; never text of the provider.
    pub detail: Option<String>,
    /// The number of Signals that it contained, known ones included.
    pub signals: i32,
}

/// Loads those of the deliveries that are still pending.
pub async fn load(
    tx: &mut Tx,
    keys: &[(TenantId, DeliveryId)],
) -> Result<Vec<StoredDelivery>, DbError> {
    read(tx, keys, true).await
}

/// Loads a delivery with any outcome.
pub async fn load_one(
    tx: &mut Tx,
    tenant: TenantId,
    id: DeliveryId,
) -> Result<Option<StoredDelivery>, DbError> {
    Ok(read(tx, &[(tenant, id)], false).await?.pop())
}

/// Reads deliveries by primary key.
///
/// The bounds on `received_at` prune the other partitions, also while the statistics of a new
/// partition are missing.
async fn read(
    tx: &mut Tx,
    keys: &[(TenantId, DeliveryId)],
    pending_only: bool,
) -> Result<Vec<StoredDelivery>, DbError> {
    let keys: Vec<_> = keys.iter().filter(|(_, id)| id.carries_time()).collect();
    let times: Vec<_> = keys.iter().map(|(_, id)| id.received_at()).collect();
    let rows = sqlx::query(concat!(
        "SELECT d.tenant_id, d.id, d.connection_id, d.provider, d.account_id, d.traceparent, \
             d.headers, d.body, d.received_at, d.copied, \
             c.account_id AS known_id, c.account_name, c.account_stable_id, c.settings, \
             coalesce(c.status IN ('suspended', 'needs_reauth'), false) AS has_ended_grant, \
             coalesce(",
        is_delivery_unrecorded!(),
        " AND a.connection_id IS NOT NULL, false) AS is_unrecorded, \
             s.resource, s.external_id, s.planned_id, s.state, s.expires_at, s.refused_events \
         FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) AS k(tenant_id, received_at, id) \
         JOIN deliveries d ON d.tenant_id = k.tenant_id AND d.received_at = k.received_at \
             AND d.id = k.id \
         LEFT JOIN connections c ON c.tenant_id = d.tenant_id AND c.id = d.connection_id \
         LEFT JOIN connection_activity a ON a.tenant_id = d.tenant_id \
             AND a.connection_id = d.connection_id \
         LEFT JOIN delivery_routes r ON r.tenant_id = d.tenant_id \
             AND r.connection_id = d.connection_id AND r.route = d.account_id \
         LEFT JOIN subscriptions s ON s.tenant_id = r.tenant_id \
             AND s.connection_id = r.connection_id AND s.id = r.subscription_id \
         WHERE d.received_at BETWEEN $5 AND $6 AND (d.outcome = 'pending' OR NOT $4)",
    ))
    .bind(keys.iter().map(|(tenant, _)| *tenant).collect::<Vec<_>>())
    .bind(&times)
    .bind(keys.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .bind(pending_only)
    .bind(times.iter().min())
    .bind(times.iter().max())
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
            let route: Option<String> = row.try_get("account_id")?;
            let account = account(row)?
                .unwrap_or_else(|| ExternalAccount::from_route(route.as_deref().unwrap_or("")));
            Ok(StoredDelivery {
                route,
                id: row.try_get("id")?,
                tenant_id: row.try_get("tenant_id")?,
                connection_id: row.try_get("connection_id")?,
                provider: row.try_get("provider")?,
                is_copy: row.try_get("copied")?,
                has_ended_grant: row.try_get("has_ended_grant")?,
                is_unrecorded: row.try_get("is_unrecorded")?,
                traceparent: row.try_get("traceparent")?,
                delivery: WebhookDelivery {
                    headers,
                    body: Bytes::from(row.try_get::<Vec<u8>, _>("body")?),
                    received_at: row.try_get("received_at")?,
                    account,
                    subscription: subscription(row)?,
                },
            })
        })
        .collect()
}

/// The subscription of the delivery's route, if it has one.
///
/// The provider may not have confirmed it yet. Then only its planned id is known.
fn subscription(row: &PgRow) -> Result<Option<Subscription>, DbError> {
    let resource: Option<String> = row.try_get("resource")?;
    let route: Option<String> = row.try_get("account_id")?;
    let (Some(resource), Some(route)) = (resource, route) else {
        return Ok(None);
    };
    let planned: Option<String> = row.try_get("planned_id")?;
    if planned.as_ref() == Some(&route) {
        return Ok(Some(Subscription::planned(resource, route)));
    }
    let external_id: Option<String> = row.try_get("external_id")?;
    Ok(Some(Subscription {
        resource,
        external_id: external_id.unwrap_or_default(),
        route: Some(route),
        state: row.try_get::<Json<serde_json::Value>, _>("state")?.0,
        expires_at: row.try_get("expires_at")?,
        refused_events: row.try_get("refused_events")?,
    }))
}

/// The account of the delivery's connection, if it has one.
fn account(row: &PgRow) -> Result<Option<ExternalAccount>, DbError> {
    let (id, stable_id): (Option<String>, Option<String>) =
        (row.try_get("known_id")?, row.try_get("account_stable_id")?);
    let (Some(id), Some(stable_id)) = (id, stable_id) else {
        return Ok(None);
    };
    Ok(Some(ExternalAccount {
        name: row
            .try_get::<Option<String>, _>("account_name")?
            .unwrap_or_else(|| id.clone()),
        id,
        stable_id,
        settings: row.try_get::<Json<serde_json::Value>, _>("settings")?.0,
    }))
}

/// Records the outcomes of deliveries.
pub async fn record_outcomes(tx: &mut Tx, outcomes: &[Outcome]) -> Result<(), DbError> {
    let times: Vec<_> = outcomes.iter().map(|o| o.id.received_at()).collect();
    sqlx::query(
        "UPDATE deliveries d SET outcome = o.outcome::delivery_outcome, \
             outcome_detail = o.detail, signals = o.signals, processed_at = now() \
         FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::int[]) \
             AS o(tenant_id, received_at, id, outcome, detail, signals) \
         WHERE d.tenant_id = o.tenant_id AND d.received_at = o.received_at AND d.id = o.id \
             AND d.received_at BETWEEN $7 AND $8",
    )
    .bind(outcomes.iter().map(|o| o.tenant_id).collect::<Vec<_>>())
    .bind(&times)
    .bind(outcomes.iter().map(|o| o.id).collect::<Vec<_>>())
    .bind(outcomes.iter().map(|o| o.outcome).collect::<Vec<_>>())
    .bind(
        outcomes
            .iter()
            .map(|o| o.detail.as_deref().map(sanitize))
            .collect::<Vec<_>>(),
    )
    .bind(outcomes.iter().map(|o| o.signals).collect::<Vec<_>>())
    .bind(times.iter().min())
    .bind(times.iter().max())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
