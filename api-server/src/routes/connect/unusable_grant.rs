//! Grants that become no connection, and their revocation.

use shared::connectors::{Connector, Grant, NewGrant};
use shared::db::TenantScope;

use crate::error::ApiError;
use crate::grant::revoke_unless_used;
use crate::state::AppState;

/// Revokes a grant that no connection uses. A failure leaves it to the person.
pub(super) async fn revoke_unless_shared(
    app: &AppState,
    connector: &dyn Connector,
    scope: &TenantScope,
    grant: &Grant,
) {
    if let Err(error) = revoke_unless_used(app, connector, scope, grant).await {
        tracing::warn!(
            provider = connector.descriptor().slug,
            error = &error as &dyn std::error::Error,
            "failed to revoke a rejected grant"
        );
    }
}

/// Revokes a grant that could not be stored, unless a connection uses it.
///
/// Only where connections name their grants: elsewhere its end may be that of another connection.
pub(super) async fn revoke_unstored(
    app: &AppState,
    connector: &dyn Connector,
    scope: &TenantScope,
    grant: &NewGrant,
    error: &ApiError,
) {
    // The grant of a denied flow has ended, or another request ends it.
    let has_ended = matches!(error, ApiError::Denied(_));
    if !has_ended && connector.grant_key(&grant.account).is_some() {
        revoke_unless_shared(app, connector, scope, &revocable(grant)).await;
    }
}

/// The part of a new grant that its revocation needs.
fn revocable(grant: &NewGrant) -> Grant {
    let tokens = grant.tokens.as_ref();
    Grant {
        account: grant.account.clone(),
        access_token: tokens.map(|tokens| tokens.access_token.clone()),
        refresh_token: tokens.and_then(|tokens| tokens.refresh_token.clone()),
    }
}

/// Rejects a grant without a refresh token, which ends with its access token.
///
/// The provider issues one with the next consent after a revocation.
pub(super) async fn reject_short_lived(
    app: &AppState,
    connector: &dyn Connector,
    scope: &TenantScope,
    grant: &NewGrant,
) -> ApiError {
    revoke_unless_shared(app, connector, scope, &revocable(grant)).await;
    let provider = connector.descriptor().display_name;
    ApiError::Denied(format!(
        "{provider} issued no refresh token, so the access would end within hours. Connect again. \
         If that fails too, first remove this app in the settings of your account."
    ))
}
