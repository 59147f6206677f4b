//! The connection that a grant leads to, active or pending.

use serde_json::json;
use shared::connectors::{Connector, Grant, NewGrant};
use shared::db::Tx;
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::db::connect_links;
use shared::db::connections::{self, Connection, NewConnection, NewPending};
use shared::db::oauth_states::OauthState;
use shared::model::{ConnectionId, ExternalAccount, SyncMode};

use super::unusable_grant::{Unstored, reject_short_lived, revoke_replaced};
use crate::error::ApiError;
use crate::routes::sync::enqueue_sync;
use crate::state::AppState;

/// A connection whose rows are written and not yet committed.
struct Stored {
    connection: Connection,
    /// The grant that the connection had before.
    previous: Option<Grant>,
}

/// Stores the connection, its tokens, its backfill and the audit entry in one transaction.
pub(super) async fn connect(
    app: &AppState,
    connector: &dyn Connector,
    row: &OauthState,
    grant: &NewGrant,
) -> Result<Connection, Unstored> {
    let begun = app.db.begin(&row.scope).await;
    let mut tx = begun.map_err(Unstored::before_commit)?;
    let stored = store(app, &mut tx, connector, row, grant).await;
    let Some(stored) = stored.map_err(Unstored::before_commit)? else {
        tx.rollback().await.map_err(Unstored::before_commit)?;
        let rejected = reject_short_lived(app, connector, &row.scope, grant).await;
        return Err(Unstored::before_commit(rejected));
    };
    tx.commit().await.map_err(|error| Unstored {
        error: error.into(),
        may_be_stored: true,
    })?;
    app.notifier.notify();
    if let Some(previous) = &stored.previous {
        revoke_replaced(connector, previous, grant).await;
    }
    Ok(stored.connection)
}

/// Writes the rows; `None` if the grant would end with its access token.
async fn store(
    app: &AppState,
    tx: &mut Tx,
    connector: &dyn Connector,
    row: &OauthState,
    grant: &NewGrant,
) -> Result<Option<Stored>, ApiError> {
    let descriptor = connector.descriptor();
    let grant_key = connector.grant_key(&grant.account);
    let new = NewConnection {
        provider: descriptor.slug,
        account: &grant.account,
        scopes: &grant.scopes,
        exclusive: descriptor.exclusive_accounts,
        polling: descriptor.polling,
        poll_interval_seconds: app.poll_interval_seconds,
        administrator: grant.administrator.as_deref(),
        grant_key: grant_key.as_deref(),
    };
    let scope = &row.scope;
    // One link creates one connection, even if several people opened it.
    let pending = connect_links::consume(tx, scope, &row.link_hash)
        .await?
        .ok_or(ApiError::InvalidState)?;
    let approved = match pending {
        Some(id) => connections::activate_pending(tx, scope, id, &new).await?,
        None => None,
    };
    let connected = match approved {
        Some(connected) => connected,
        None => connections::connect(tx, scope, &new).await?,
    };
    let id = connected.connection.id;
    let previous = if connected.resumed && descriptor.tokens.revokes_one_consent {
        previous_grant(app, tx, row, id, grant).await
    } else {
        None
    };
    app.credentials
        .store(
            tx,
            scope,
            id,
            descriptor.tokens,
            grant.tokens.as_ref(),
            grant.user_token.as_ref(),
        )
        .await?;
    if descriptor.tokens.keeps_refresh_token
        && !app.credentials.has_refresh_token(tx, scope, id).await?
    {
        return Ok(None);
    }
    // A resumed connection with a complete backfill reads only the gap since its cursors.
    let is_gap_only = connected.resumed && connected.connection.backfilled_at.is_some();
    let mode = if is_gap_only {
        SyncMode::Incremental
    } else {
        SyncMode::Full
    };
    enqueue_sync(&*app.queue, tx, scope, &connected.connection, mode).await?;
    // The new tokens may end at another time.
    connections::refresh_health(tx, scope, id).await?;
    let entry = AuditEntry::new(AuditActor::Browser, "connection.connected")
        .target(id)
        .detail(json!({
            "provider": descriptor.slug,
            "resumed": connected.resumed,
            "administrator": grant.administrator,
        }));
    audit::record(tx, scope, &entry).await?;
    Ok(Some(Stored {
        connection: connected.connection,
        previous,
    }))
}

/// The stored grant of a connection, to be revoked once another one has replaced it.
async fn previous_grant(
    app: &AppState,
    tx: &mut Tx,
    row: &OauthState,
    id: ConnectionId,
    grant: &NewGrant,
) -> Option<Grant> {
    let account = grant.account.clone();
    let previous = app.credentials.grant_in(tx, &row.scope, id, account).await;
    previous
        .inspect_err(|error| {
            tracing::warn!(
                connection.id = %id,
                error = error as &dyn std::error::Error,
                "failed to read the grant that is replaced, so it is not revoked"
            );
        })
        .ok()
}

/// Stores a pending connection, which an administrator approves with the same link.
pub(super) async fn create_pending(
    app: &AppState,
    row: &OauthState,
    requester: &str,
    account: Option<&ExternalAccount>,
) -> Result<Connection, ApiError> {
    let scope = &row.scope;
    let mut tx = app.db.begin(scope).await?;
    let existing = connect_links::lock(&mut tx, scope, &row.link_hash)
        .await?
        .ok_or(ApiError::InvalidState)?;
    let new = NewPending {
        provider: &row.provider,
        requester,
        account,
        existing,
        poll_interval_seconds: app.poll_interval_seconds,
        days: app.approval_days,
    };
    let pending = connections::create_pending(&mut tx, scope, &new).await?;
    connect_links::extend_for_approval(&mut tx, scope, &row.link_hash, pending.id).await?;
    let entry = AuditEntry::new(AuditActor::Browser, "connection.requested")
        .target(pending.id)
        .detail(json!({ "provider": row.provider }));
    audit::record(&mut tx, scope, &entry).await?;
    tx.commit().await?;
    Ok(pending)
}
