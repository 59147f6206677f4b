//! The ways by which deliveries reach a connection: its own URL, and subscriptions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{DbError, TenantScope, Tx};
use crate::model::{ConnectionId, PushWays};

/// Returns the connection's ways beside the app's URL.
///
/// Served by the primary key of `webhook_secrets` and the unique key of `subscriptions`.
pub async fn get(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<PushWays, DbError> {
    let own_url_since = sqlx::query_scalar(
        "SELECT min(created_at) FROM webhook_secrets WHERE tenant_id = $1 AND connection_id = $2",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .fetch_one(&mut **tx)
    .await?;
    let subscribed: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
        "SELECT resource, created_at FROM subscriptions \
         WHERE tenant_id = $1 AND connection_id = $2 AND desired AND external_id IS NOT NULL \
           AND (expires_at IS NULL OR expires_at > now())",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .fetch_all(&mut **tx)
    .await?;
    Ok(PushWays {
        own_url_since,
        subscribed_since: BTreeMap::from_iter(subscribed),
    })
}
