//! Changes of a connection's grant: suspension, revocation, removal, approval.

use chrono::{DateTime, TimeDelta, Utc};
use shared::connectors::{AccountChange, ConnectorError, SyncHint};
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::db::connections::{self, Connection, ConnectionStatus};
use shared::db::credentials::CredentialKey;
use shared::db::{DbError, TenantScope, Tx, due_times, resources, webhook_secrets};
use shared::model::ConnectionId;
use shared::queue::ClaimedJob;

use crate::context::Context;
use crate::failure::JobFailure;
use crate::job_transaction;

/// Applies a change that a delivery of a connection reports.
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
            set_status(tx, scope, connection, ConnectionStatus::Suspended, reason).await?;
        }
        AccountChange::Unsuspended if current.status == ConnectionStatus::Suspended => {
            // The status change makes a sync due immediately.
            set_status(tx, scope, connection, ConnectionStatus::Active, None).await?;
        }
        AccountChange::Revoked { at } if concerns_current_grant(&current, Some(*at)) => {
            if current.status != ConnectionStatus::Disconnected {
                let reason = Some("revoked_at_provider");
                set_status(tx, scope, connection, ConnectionStatus::NeedsReauth, reason).await?;
            }
        }
        AccountChange::UserTokenRevoked { user_id, at }
            if concerns_current_grant(&current, Some(*at)) =>
        {
            let key = CredentialKey::user(connection, user_id);
            context.credentials.erase_holder(tx, scope, &key).await?;
        }
        AccountChange::Removed { at } if concerns_current_grant(&current, *at) => {
            let reason = Some("removed_at_provider");
            if set_status(
                tx,
                scope,
                connection,
                ConnectionStatus::Disconnected,
                reason,
            )
            .await?
            {
                context.credentials.erase(tx, scope, connection).await?;
                webhook_secrets::erase(tx, scope, connection).await?;
            }
        }
        AccountChange::StreamsChanged { removed_resources } => {
            resources::retire(tx, scope, connection, removed_resources).await?;
            due_times::sync_soon(tx, scope, connection).await?;
        }
        AccountChange::ResourceIdChanged { from, to } => {
            if let Some(mut account) = current.account {
                account.note_resource_id(from, to);
                connections::update_account(tx, scope, connection, &account).await?;
            }
            resources::change_id(tx, scope, connection, from, to).await?;
            due_times::sync_soon(tx, scope, connection).await?;
        }
        // `GrantCheckRequired` is confirmed first, by `jobs::confirm_grant`.
        AccountChange::GrantCheckRequired
        | AccountChange::Installed { .. }
        | AccountChange::Revoked { .. }
        | AccountChange::UserTokenRevoked { .. }
        | AccountChange::Removed { .. }
        | AccountChange::Suspended
        | AccountChange::Unsuspended => {}
    }
    Ok(())
}

/// Makes the streams that deliveries of a connection ask for due for a read.
pub(crate) async fn request_sync(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    hint: &SyncHint,
) -> Result<(), DbError> {
    // Lock the connection before its streams and routes, in the same order as a disconnect.
    if connections::lock(tx, scope, connection).await?.is_none() {
        return Ok(());
    }
    match hint {
        SyncHint::All => due_times::sync_soon(tx, scope, connection).await,
        SyncHint::Streams(streams) => {
            let streams: Vec<String> = streams.iter().cloned().collect();
            due_times::request_streams(tx, scope, connection, &streams).await
        }
    }
}

/// Whether an event at this time concerns the current grant, not an earlier one.
///
/// Events of an earlier grant may arrive late. Providers report whole seconds, so an event within
/// the second of the connect counts.
fn concerns_current_grant(connection: &Connection, at: Option<DateTime<Utc>>) -> bool {
    at.is_none_or(|at| at + TimeDelta::seconds(1) > connection.connected_at)
}

/// Applies a change of an account that has no connection.
///
/// An installation that a person requested names the account of a pending connection. It does not
/// activate the connection: the approver has not seen which team asks, and connects through the
/// link.
pub(crate) async fn apply_unmatched(
    tx: &mut Tx,
    scopes: &[TenantScope],
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
    let Some((scope, id)) = connections::find_unnamed_pending(tx, provider, requester).await?
    else {
        return Ok(());
    };
    let both: Vec<TenantScope> = scopes.iter().copied().chain([scope]).collect();
    tx.change_scopes(&both).await?;
    if connections::name_pending(tx, &scope, id, account).await? {
        let entry = AuditEntry::new(AuditActor::Provider, "connection.installed").target(id);
        audit::record(tx, &scope, &entry).await?;
    }
    tx.change_scopes(scopes).await?;
    Ok(())
}

/// Records an error that reports a revoked or suspended grant; ignores all other errors.
pub(crate) async fn record_grant_error(
    context: &Context,
    job: &ClaimedJob,
    connection: ConnectionId,
    error: &ConnectorError,
) -> Result<(), JobFailure> {
    record_revocation(context, job, connection, error, connections::GRANT_REFUSED).await
}

/// Reactivates a connection whose suspended or rejected grant works again.
///
/// The status change makes a sync due immediately.
pub(crate) async fn record_recovery(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<(), DbError> {
    let current = connections::lock(tx, scope, connection).await?;
    if current.is_some_and(|current| {
        matches!(
            current.status,
            ConnectionStatus::Suspended | ConnectionStatus::NeedsReauth
        )
    }) {
        set_status(tx, scope, connection, ConnectionStatus::Active, None).await?;
    }
    Ok(())
}

/// Records a grant that was lost together with the response to a token refresh.
pub(crate) async fn record_lost_refresh(
    context: &Context,
    job: &ClaimedJob,
    connection: ConnectionId,
    error: &ConnectorError,
) -> Result<(), JobFailure> {
    record_revocation(context, job, connection, error, "rotation_lost").await
}

async fn record_revocation(
    context: &Context,
    job: &ClaimedJob,
    connection: ConnectionId,
    error: &ConnectorError,
    revoked_reason: &'static str,
) -> Result<(), JobFailure> {
    let (status, reason) = match error {
        ConnectorError::GrantRevoked(_) => (ConnectionStatus::NeedsReauth, revoked_reason),
        ConnectorError::GrantSuspended(_) => (ConnectionStatus::Suspended, "suspended_at_provider"),
        _ => return Ok(()),
    };
    let mut tx = job_transaction::begin(context, job).await?;
    let current = connections::lock(&mut tx, &job.scope(), connection).await?;
    // A grant that is newer than this attempt is not the rejected one.
    if current.is_some_and(|current| current.connected_at < job.started_at) {
        set_status(&mut tx, &job.scope(), connection, status, Some(reason)).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(())
}

async fn set_status(
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
        let entry = AuditEntry::new(AuditActor::Provider, action).target(connection);
        audit::record(tx, scope, &entry).await?;
        tracing::info!(
            connection.id = %connection,
            connection.action = action,
            "connection status changed"
        );
    }
    Ok(changed)
}
