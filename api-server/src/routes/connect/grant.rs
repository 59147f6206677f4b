//! The connection that a grant leads to, active or pending.

use serde_json::json;
use shared::connectors::{Connector, NewGrant};
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::db::connect_links;
use shared::db::connections::{self, Connection, NewConnection, NewPending};
use shared::db::oauth_states::OauthState;
use shared::model::{ExternalAccount, SyncMode};

use super::unusable_grant::reject_short_lived;
use crate::error::ApiError;
use crate::routes::sync::enqueue_sync;
use crate::state::AppState;

/// Stores the connection, its tokens, its backfill and the audit entry in one transaction.
pub(super) async fn connect(
    app: &AppState,
    connector: &dyn Connector,
    row: &OauthState,
    grant: &NewGrant,
) -> Result<Connection, ApiError> {
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
    let mut tx = app.db.begin(scope).await?;
    // One link creates one connection, even if several people opened it.
    let pending = connect_links::consume(&mut tx, scope, &row.link_hash)
        .await?
        .ok_or(ApiError::InvalidState)?;
    let approved = match pending {
        Some(id) => connections::activate_pending(&mut tx, scope, id, &new).await?,
        None => None,
    };
    let connected = match approved {
        Some(connected) => connected,
        None => connections::connect(&mut tx, scope, &new).await?,
    };
    let id = connected.connection.id;
    app.credentials
        .store(
            &mut tx,
            scope,
            id,
            descriptor.tokens,
            grant.tokens.as_ref(),
            grant.user_token.as_ref(),
        )
        .await?;
    if descriptor.tokens.keeps_refresh_token
        && !app
            .credentials
            .has_refresh_token(&mut tx, scope, id)
            .await?
    {
        tx.rollback().await?;
        return Err(reject_short_lived(app, connector, scope, grant).await);
    }
    // A resumed connection with a complete backfill reads only the gap since its cursors.
    let is_gap_only = connected.resumed && connected.connection.backfilled_at.is_some();
    let mode = if is_gap_only {
        SyncMode::Incremental
    } else {
        SyncMode::Full
    };
    enqueue_sync(&*app.queue, &mut tx, scope, &connected.connection, mode).await?;
    // The new tokens may end at another time.
    connections::refresh_health(&mut tx, scope, id).await?;
    let entry = AuditEntry::new(AuditActor::Browser, "connection.connected")
        .target(id)
        .detail(json!({
            "provider": descriptor.slug,
            "resumed": connected.resumed,
            "administrator": grant.administrator,
        }));
    audit::record(&mut tx, scope, &entry).await?;
    tx.commit().await?;
    app.notifier.notify();
    Ok(connected.connection)
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
