//! What providers tell about a grant, written down: suspended, gone, approved.

use std::collections::HashSet;

use shared::connectors::{AccountChange, ConnectorError};
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::db::connections::{self, ConnectError, ConnectionStatus, NewConnection};
use shared::db::{DbError, TenantScope, Tx, cursors, schedule};
use shared::ids::{ConnectionId, TenantId};
use shared::queue::{self, JobPayload, NewJob, SyncMode};

use crate::context::Context;

/// Applies a change that a delivery of a known connection told.
pub(crate) async fn apply(
    context: &Context,
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    change: &AccountChange,
    synced: &mut HashSet<ConnectionId>,
) -> Result<(), DbError> {
    let Some(current) = connections::lock(tx, scope, connection).await? else {
        return Ok(());
    };
    match change {
        AccountChange::Suspended if current.status != ConnectionStatus::Disconnected => {
            let reason = Some("suspended_at_provider");
            move_to(tx, scope, connection, ConnectionStatus::Suspended, reason).await?;
        }
        AccountChange::Unsuspended if current.status == ConnectionStatus::Suspended => {
            move_to(tx, scope, connection, ConnectionStatus::Active, None).await?;
            if synced.insert(connection) {
                enqueue_sync(tx, scope.tenant_id(), &current.provider, connection).await?;
            }
        }
        AccountChange::Removed => {
            let reason = Some("removed_at_provider");
            if move_to(
                tx,
                scope,
                connection,
                ConnectionStatus::Disconnected,
                reason,
            )
            .await?
            {
                context.credentials.erase(tx, scope, connection).await?;
            }
        }
        AccountChange::StreamsChanged { removed_resources } => {
            cursors::retire_resources(tx, scope, connection, removed_resources).await?;
            if synced.insert(connection) {
                enqueue_sync(tx, scope.tenant_id(), &current.provider, connection).await?;
            }
        }
        AccountChange::GapDetected => {
            if synced.insert(connection) {
                enqueue_sync(tx, scope.tenant_id(), &current.provider, connection).await?;
            }
        }
        AccountChange::Installed { .. } | AccountChange::Suspended | AccountChange::Unsuspended => {
        }
    }
    Ok(())
}

/// Takes in a change of an account that no connection has: the approval that a pending
/// connection waits for. An account that merely comes back is not given to whoever had it
/// before: its owner may have removed the app to end just that, and connects it anew.
pub(crate) async fn arrive(
    context: &Context,
    provider: &str,
    change: &AccountChange,
) -> Result<(), DbError> {
    let AccountChange::Installed {
        account,
        requester: Some(requester),
    } = change
    else {
        return Ok(());
    };
    let Some((scope, id)) = schedule::pending_for(&context.db, provider, requester).await? else {
        return Ok(());
    };
    let Ok(connector) = context.registry.get(provider) else {
        return Ok(());
    };
    let descriptor = connector.descriptor();
    let mut tx = context.db.begin(&scope).await?;
    let new = NewConnection {
        provider,
        account,
        scopes: &[],
        exclusive: descriptor.exclusive_accounts,
        polling: descriptor.polling,
        poll_interval_seconds: i32::try_from(context.config.poll_interval.as_secs())
            .unwrap_or(i32::MAX),
    };
    let connected = match connections::activate_pending(&mut tx, &scope, id, &new).await {
        Ok(Some(connected)) => connected,
        Ok(None) => return Ok(()),
        Err(ConnectError::AccountTaken) => {
            tracing::warn!(connection.id = %id, "an approved account belongs to another connection");
            return Ok(());
        }
        Err(ConnectError::Db(error)) => return Err(error),
    };
    let connection = connected.connection.id;
    context
        .credentials
        .store(&mut tx, &scope, connection, None)
        .await?;
    let target = connection.to_string();
    let entry = AuditEntry::new(AuditActor::Provider, "connection.approved").target(&target);
    audit::record(&mut tx, &scope, &entry).await?;
    enqueue_sync(&mut tx, scope.tenant_id(), provider, connection).await?;
    tx.commit().await?;
    queue::notify(&context.db).await
}

/// Notes that the provider refuses a connection's grant. An outage never counts as one.
pub(crate) async fn note_refused_grant(
    context: &Context,
    scope: &TenantScope,
    connection: ConnectionId,
    error: &ConnectorError,
) -> Result<(), DbError> {
    let (status, reason) = match error {
        ConnectorError::Unauthorized(_) => (ConnectionStatus::NeedsReauth, "grant_refused"),
        ConnectorError::Permission(_) => (ConnectionStatus::Suspended, "suspended_at_provider"),
        _ => return Ok(()),
    };
    let mut tx = context.db.begin(scope).await?;
    move_to(&mut tx, scope, connection, status, Some(reason)).await?;
    tx.commit().await?;
    Ok(())
}

async fn move_to(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    status: ConnectionStatus,
    reason: Option<&str>,
) -> Result<bool, DbError> {
    let changed = connections::set_status(tx, scope, connection, status, reason).await?;
    if changed {
        let action = match status {
            ConnectionStatus::Suspended => "connection.suspended",
            ConnectionStatus::Active => "connection.resumed",
            ConnectionStatus::NeedsReauth => "connection.refused",
            _ => "connection.disconnected",
        };
        let target = connection.to_string();
        let entry = AuditEntry::new(AuditActor::Provider, action).target(&target);
        audit::record(tx, scope, &entry).await?;
        tracing::info!(connection.id = %connection, connection.action = action, "a connection changed");
    }
    Ok(changed)
}

async fn enqueue_sync(
    tx: &mut Tx,
    tenant_id: TenantId,
    provider: &str,
    connection: ConnectionId,
) -> Result<(), DbError> {
    let job = NewJob {
        tenant_id,
        provider: provider.to_owned(),
        connection_id: Some(connection),
        cursor_window: Some(format!("sync:{connection}:incremental")),
        run_at: None,
        payload: JobPayload::SyncConnection {
            mode: SyncMode::Incremental,
            until: None,
        },
        traceparent: shared::telemetry::current_traceparent(),
    };
    queue::enqueue(tx, &job).await?;
    Ok(())
}
