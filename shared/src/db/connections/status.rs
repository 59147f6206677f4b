//! Changes of a connection's status, and its end.

use super::{ConnectionStatus, GRANT_REFUSED};
use crate::db::{DbError, TenantScope, Tx, webhook_secrets};
use crate::model::ConnectionId;

/// Sets a connection's status and updates its route; returns whether anything changed.
///
/// An active connection is polled immediately. A paused or suspended one, and one without a valid
/// grant, keeps its route, so that deliveries are still accepted. A disconnected one has no route,
/// and only [`super::connect`] ends that status. A paused connection stays paused when its grant is
/// suspended or refused: resuming it reveals that.
pub async fn set_status(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    status: ConnectionStatus,
    reason: Option<&str>,
) -> Result<bool, DbError> {
    let changed = sqlx::query(
        "UPDATE connections SET status = $3, status_reason = $4, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2 AND status <> 'disconnected' \
           AND NOT (status = 'paused' AND $3 IN ('suspended', 'needs_reauth')) \
           AND (status, status_reason) IS DISTINCT FROM ($3, $4)",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .bind(status)
    .bind(reason)
    .execute(&mut **tx)
    .await?
    .rows_affected()
        == 1;
    if !changed {
        return Ok(false);
    }
    let route = match status {
        ConnectionStatus::Disconnected => {
            "WITH deleted AS ( \
                 DELETE FROM delivery_routes WHERE tenant_id = $1 AND connection_id = $2) \
             DELETE FROM connection_routes WHERE tenant_id = $1 AND connection_id = $2"
        }
        ConnectionStatus::Active => {
            "UPDATE connection_routes SET polling = true, next_sync_at = now(), \
                 subscriptions_at = now(), probe_at = NULL, probe_interval = NULL \
             WHERE tenant_id = $1 AND connection_id = $2"
        }
        // The provider may not report the end of a suspension.
        ConnectionStatus::Suspended => {
            "UPDATE connection_routes SET polling = false, probe_at = now() + interval '5 minutes', \
                 probe_interval = interval '30 minutes' \
             WHERE tenant_id = $1 AND connection_id = $2"
        }
        // Causes other than the provider's refusal may be temporary.
        ConnectionStatus::NeedsReauth if reason != Some(GRANT_REFUSED) => {
            "UPDATE connection_routes SET polling = false, probe_at = now() + interval '6 hours', \
                 probe_interval = interval '6 hours' \
             WHERE tenant_id = $1 AND connection_id = $2"
        }
        ConnectionStatus::Pending | ConnectionStatus::Paused | ConnectionStatus::NeedsReauth => {
            "UPDATE connection_routes SET polling = false, probe_at = NULL, probe_interval = NULL \
             WHERE tenant_id = $1 AND connection_id = $2"
        }
    };
    sqlx::query(route)
        .bind(scope.tenant_id())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(true)
}

/// Ends a connection; returns whether it had not ended before.
///
/// Deletes route, cursors, subscriptions and webhook secrets; the row is kept as history. The
/// caller erases the tokens through the credential store.
pub async fn disconnect(
    tx: &mut Tx,
    scope: &TenantScope,
    id: ConnectionId,
    reason: &str,
) -> Result<bool, DbError> {
    if !set_status(tx, scope, id, ConnectionStatus::Disconnected, Some(reason)).await? {
        return Ok(false);
    }
    for statement in [
        "DELETE FROM cursors WHERE tenant_id = $1 AND connection_id = $2",
        "DELETE FROM subscriptions WHERE tenant_id = $1 AND connection_id = $2",
        "DELETE FROM directory_entries WHERE tenant_id = $1 AND connection_id = $2",
        // A later connection of the account begins with a full backfill.
        "UPDATE connections SET backfilled_at = NULL, backfill_started_at = NULL, \
             run_seconds = 0, last_error = NULL, complete_through = NULL, \
             complete_tx = NULL, settled_through = NULL, reconciled_through = NULL, \
             settled_reconciled_through = NULL, held_back_by = NULL, missed_count = 0, \
             missed_at = NULL, run_missed = 0, poll_boost = 0 \
         WHERE tenant_id = $1 AND id = $2",
    ] {
        sqlx::query(statement)
            .bind(scope.tenant_id())
            .bind(id)
            .execute(&mut **tx)
            .await?;
    }
    webhook_secrets::erase(tx, scope, id).await?;
    Ok(true)
}
