//! `DELETE /v1/connections/{id}`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::json;
use shared::connectors::{Access, Connector, ConnectorError};
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::db::connections::{self, Connection, ConnectionStatus};
use shared::db::{TenantScope, subscriptions};
use shared::model::{ConnectionId, ExternalAccount, Subscription};
use tokio::time::timeout;

use crate::auth::{ConnectionsAdmin, TenantAuth};
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::grant::revoke_unless_used;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// The time limit for the revocation at the provider; the connection ends in any case.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(15);
/// The part of it for ending subscriptions.
///
/// The rest is for the revocation, however many subscriptions there are.
const UNSUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(8);
/// The maximum number of attempts to disconnect after serialization conflicts.
const MAX_DISCONNECT_ATTEMPTS: usize = 3;

/// Delete a connection
///
/// Unsubscribes from webhooks, revokes the grant at the provider, erases tokens and cursors, and
/// cancels waiting jobs. Signals are kept. A grant that another connection shares is not revoked. If
/// the revocation removes the app from a whole account, it happens only if the person who connected
/// proved to administer the account. The connection ends even if the provider does not respond;
/// deleting a disconnected one has no effect.
#[utoipa::path(
    delete,
    path = "/v1/connections/{id}",
    tag = "connections",
    security(("bearer" = ["connections:write", "admin"])),
    params(("id" = Uuid, Path, description = "The connection")),
    responses((status = 204, description = "Disconnected"))
)]
pub(crate) async fn delete_connection(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<ConnectionsAdmin>,
    IdPath(id): IdPath<ConnectionId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let connection = connections::get(&mut tx, &auth.scope, id)
        .await?
        .ok_or(ApiError::NotFound("connection"))?;
    tx.commit().await?;
    if connection.status == ConnectionStatus::Disconnected {
        return Ok(StatusCode::NO_CONTENT);
    }
    let (actor, scope) = (auth.principal.actor(), auth.scope);
    let task_state = Arc::clone(&state);
    state
        .run_to_completion(async move {
            let revoked = revoke(&task_state, &scope, &connection).await;
            // Conflicts are retried, because the grant may be revoked already.
            let mut attempt = 1;
            loop {
                match disconnect(&task_state, &scope, id, actor, revoked).await {
                    Err(ApiError::Db(error))
                        if error.is_conflict() && attempt < MAX_DISCONNECT_ATTEMPTS =>
                    {
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes the grant at the provider; returns whether the provider confirmed it.
async fn revoke(state: &AppState, scope: &TenantScope, connection: &Connection) -> bool {
    let Some(account) = connection.account.clone() else {
        return true;
    };
    let attempt = async {
        let connector = state.registry.get(&connection.provider)?;
        let ended = unsubscribe(state, scope, connection, &connector, &account);
        let ended = timeout(UNSUBSCRIBE_TIMEOUT, ended).await;
        if let Err(error) = ended.unwrap_or(Err(ApiError::TimedOut)) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                connection.id = %connection.id,
                "failed to end the subscriptions, they expire later"
            );
        }
        if connector.descriptor().revoke_needs_administrator && connection.administrator.is_none() {
            tracing::info!(
                connection.id = %connection.id,
                "person not proved to be an administrator, leaving the app installed"
            );
            return Ok::<bool, ApiError>(false);
        }
        if release_grant(state, scope, connection.id).await? {
            tracing::info!(
                connection.id = %connection.id,
                "another connection shares the grant, not revoking it"
            );
            return Ok(false);
        }
        let grant = state
            .credentials
            .grant(scope, connection.id, account)
            .await?;
        revoke_unless_used(state, connector.as_ref(), scope, &grant).await
    };
    match timeout(REVOKE_TIMEOUT, attempt).await {
        Ok(Ok(revoked)) => revoked,
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                connection.id = %connection.id,
                "failed to revoke the grant at the provider"
            );
            false
        }
        Err(_) => {
            tracing::warn!(connection.id = %connection.id, "revocation at the provider timed out");
            false
        }
    }
}

/// Ends the connection's use of its grant; returns whether another connection still uses it.
async fn release_grant(
    state: &AppState,
    scope: &TenantScope,
    id: ConnectionId,
) -> Result<bool, ApiError> {
    let mut tx = state.db.begin(scope).await?;
    let is_shared = connections::release_grant(&mut tx, scope, id).await?;
    tx.commit().await?;
    Ok(is_shared)
}

/// Ends the connection's subscriptions while its token is valid.
///
/// One that the provider holds for another connection as well stays.
///
/// A remaining subscription expires later; its deliveries match no connection.
async fn unsubscribe(
    state: &AppState,
    scope: &TenantScope,
    connection: &Connection,
    connector: &Arc<dyn Connector>,
    account: &ExternalAccount,
) -> Result<(), ApiError> {
    let mut tx = state.db.begin(scope).await?;
    let rows = subscriptions::list(&mut tx, scope, connection.id).await?;
    let all: Vec<Subscription> = rows
        .iter()
        .flat_map(|row| row.possibly_held(&rows))
        .collect();
    let are_shared = subscriptions::are_shared(&mut tx, scope, connection.id, &all).await?;
    tx.commit().await?;
    let held: Vec<Subscription> = all
        .into_iter()
        .zip(are_shared)
        .filter_map(|(subscription, is_shared)| (!is_shared).then_some(subscription))
        .collect();
    if held.is_empty() {
        return Ok(());
    }
    let token = state
        .credentials
        .access_token(scope, connection.id, account, connector, None)
        .await?;
    let access = Access {
        account: account.clone(),
        token: token.token,
        user_token: token.user_token,
    };
    // The rate limiter bounds the number of concurrent calls.
    let calls: Vec<_> = held
        .iter()
        .map(|subscription| connector.unsubscribe(&access, subscription))
        .collect();
    for ended in join_all(calls).await {
        match ended {
            // Another grant created it; it does not prevent the revocation of this one.
            Ok(()) | Err(ConnectorError::Denied { .. }) => {}
            Err(error) => return Err(ApiError::Connector(error)),
        }
    }
    Ok(())
}

/// Cancels the connection's jobs, disconnects it and erases its tokens.
async fn disconnect(
    state: &AppState,
    scope: &TenantScope,
    id: ConnectionId,
    actor: AuditActor,
    revoked: bool,
) -> Result<(), ApiError> {
    // In a separate transaction, because workers lock jobs and connections in either order.
    let mut tx = state.db.begin(scope).await?;
    let cancelled = state
        .queue
        .cancel_for_connection(&mut tx, scope, id)
        .await?;
    tx.commit().await?;
    let mut tx = state.db.begin(scope).await?;
    if connections::disconnect(&mut tx, scope, id, "disconnected").await? {
        state.credentials.erase(&mut tx, scope, id).await?;
        let entry = AuditEntry::new(actor, "connection.disconnected")
            .target(id)
            .detail(json!({ "revoked": revoked, "jobs_cancelled": cancelled }));
        audit::record(&mut tx, scope, &entry).await?;
    }
    tx.commit().await?;
    Ok(())
}
