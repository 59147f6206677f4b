//! What providers tell about a grant, written down: suspended, gone, approved.

use chrono::{DateTime, TimeDelta, Utc};
use shared::connectors::{AccountChange, ConnectorError};
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::db::connections::{self, ConnectError, Connection, ConnectionStatus, NewConnection};
use shared::db::{DbError, TenantScope, Tx, cursors, schedule};
use shared::ids::ConnectionId;

use crate::context::Context;

/// Applies a change that a delivery of a known connection told.
pub(crate) async fn apply(
    context: &Context,
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    change: &AccountChange,
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
            // It is read at once.
            move_to(tx, scope, connection, ConnectionStatus::Active, None).await?;
        }
        AccountChange::Revoked { at } if concerns(&current, Some(*at)) => {
            if current.status != ConnectionStatus::Disconnected {
                let reason = Some("revoked_at_provider");
                move_to(tx, scope, connection, ConnectionStatus::NeedsReauth, reason).await?;
            }
        }
        AccountChange::PersonRevoked { at } if concerns(&current, Some(*at)) => {
            context
                .credentials
                .erase_person(tx, scope, connection)
                .await?;
        }
        AccountChange::Removed { at } if concerns(&current, *at) => {
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
            schedule::sync_soon(tx, scope, connection).await?;
        }
        AccountChange::GapDetected => schedule::sync_soon(tx, scope, connection).await?,
        AccountChange::Installed { .. }
        | AccountChange::Revoked { .. }
        | AccountChange::PersonRevoked { .. }
        | AccountChange::Removed { .. }
        | AccountChange::Suspended
        | AccountChange::Unsuspended => {}
    }
    Ok(())
}

/// Whether what happened at this moment concerns the present grant: news of an older one may
/// come late. Providers tell whole seconds, so within the second it may.
fn concerns(connection: &Connection, at: Option<DateTime<Utc>>) -> bool {
    at.is_none_or(|at| at + TimeDelta::seconds(1) > connection.connected_at)
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
        routes: &[],
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
        .store(&mut tx, &scope, connection, None, None)
        .await?;
    let target = connection.to_string();
    let entry = AuditEntry::new(AuditActor::Provider, "connection.approved").target(&target);
    audit::record(&mut tx, &scope, &entry).await?;
    schedule::sync_soon(&mut tx, &scope, connection).await?;
    tx.commit().await?;
    Ok(())
}

/// Notes that the provider refuses a connection's grant. An outage never counts as one.
pub(crate) async fn note_refused_grant(
    context: &Context,
    scope: &TenantScope,
    connection: ConnectionId,
    error: &ConnectorError,
) -> Result<(), DbError> {
    note_refusal(context, scope, connection, error, "grant_refused").await
}

/// Notes that a grant is gone because the answer to a renewal was lost.
pub(crate) async fn note_lost_rotation(
    context: &Context,
    scope: &TenantScope,
    connection: ConnectionId,
    error: &ConnectorError,
) -> Result<(), DbError> {
    note_refusal(context, scope, connection, error, "rotation_lost").await
}

async fn note_refusal(
    context: &Context,
    scope: &TenantScope,
    connection: ConnectionId,
    error: &ConnectorError,
    unauthorized: &'static str,
) -> Result<(), DbError> {
    let (status, reason) = match error {
        ConnectorError::Unauthorized(_) => (ConnectionStatus::NeedsReauth, unauthorized),
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
