//! What providers tell about a grant, written down: suspended, gone, approved.

use chrono::{DateTime, TimeDelta, Utc};
use shared::connectors::{AccountChange, ConnectorError};
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::db::connections::{self, Connection, ConnectionStatus};
use shared::db::{DbError, TenantScope, Tx, resources, schedule, webhook_secrets};
use shared::ids::ConnectionId;
use shared::queue::ClaimedJob;

use crate::context::Context;
use crate::jobs::{self, JobFailure};

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
                webhook_secrets::erase(tx, scope, connection).await?;
            }
        }
        AccountChange::StreamsChanged { removed_resources } => {
            resources::retire(tx, scope, connection, removed_resources).await?;
            schedule::sync_soon(tx, scope, connection).await?;
        }
        AccountChange::ResourceIdChanged { from, to } => {
            if let Some(mut account) = current.account {
                account.note_resource_id(from, to);
                connections::describe_account(tx, scope, connection, &account).await?;
            }
            resources::change_id(tx, scope, connection, from, to).await?;
            schedule::sync_soon(tx, scope, connection).await?;
        }
        AccountChange::GapDetected => schedule::sync_soon(tx, scope, connection).await?,
        // Asked about first; see `jobs::confirm_grant`.
        AccountChange::GrantInDoubt
        | AccountChange::Installed { .. }
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

/// Takes in a change of an account that no connection has. An installation that somebody asked
/// for names the account that a pending connection waits for. It activates nothing: whoever
/// approved the installation has not seen which team asks, and connects by opening the link.
pub(crate) async fn arrive(
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
    let Some((scope, id)) = schedule::unnamed_pending(tx, provider, requester).await? else {
        return Ok(());
    };
    let both: Vec<TenantScope> = scopes.iter().copied().chain([scope]).collect();
    tx.change_scopes(&both).await?;
    if connections::name_pending(tx, &scope, id, account).await? {
        let target = id.to_string();
        let entry = AuditEntry::new(AuditActor::Provider, "connection.installed").target(&target);
        audit::record(tx, &scope, &entry).await?;
    }
    tx.change_scopes(scopes).await?;
    Ok(())
}

/// Notes what the provider says of a connection's grant: that it is gone, or suspended. Any other
/// refusal says nothing of it.
pub(crate) async fn note_word_on_grant(
    context: &Context,
    job: &ClaimedJob,
    connection: ConnectionId,
    error: &ConnectorError,
) -> Result<(), JobFailure> {
    note_end(context, job, connection, error, connections::GRANT_REFUSED).await
}

/// Notes that a grant works again that was suspended or refused; the connection is read at once.
pub(crate) async fn note_recovered(
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
        move_to(tx, scope, connection, ConnectionStatus::Active, None).await?;
    }
    Ok(())
}

/// Notes that a grant is gone because the answer to a renewal was lost.
pub(crate) async fn note_lost_rotation(
    context: &Context,
    job: &ClaimedJob,
    connection: ConnectionId,
    error: &ConnectorError,
) -> Result<(), JobFailure> {
    note_end(context, job, connection, error, "rotation_lost").await
}

async fn note_end(
    context: &Context,
    job: &ClaimedJob,
    connection: ConnectionId,
    error: &ConnectorError,
    revoked: &'static str,
) -> Result<(), JobFailure> {
    let (status, reason) = match error {
        ConnectorError::GrantRevoked(_) => (ConnectionStatus::NeedsReauth, revoked),
        ConnectorError::GrantSuspended(_) => (ConnectionStatus::Suspended, "suspended_at_provider"),
        _ => return Ok(()),
    };
    let mut tx = jobs::begin(context, job).await?;
    let current = connections::lock(&mut tx, &job.scope(), connection).await?;
    // A grant that was given after the attempt began is not the one that was refused.
    if current.is_some_and(|current| current.connected_at < job.started_at) {
        move_to(&mut tx, &job.scope(), connection, status, Some(reason)).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
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
