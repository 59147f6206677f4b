//! Grants that become no connection, and their revocation.

use secrecy::ExposeSecret;
use shared::connectors::{Connector, Grant, NewGrant};
use shared::db::TenantScope;
use tokio::time::timeout;

use crate::error::ApiError;
use crate::grant::{REVOKE_TIMEOUT, revoke_unless_used};
use crate::state::AppState;

/// The failure of a flow whose grant was not stored, or not known to be.
pub(super) struct Unstored {
    /// The error.
    pub(super) error: ApiError,
    /// Whether the grant may be stored anyway: the response to the commit was lost.
    pub(super) may_be_stored: bool,
}

impl Unstored {
    pub(super) fn before_commit(error: impl Into<ApiError>) -> Self {
        Self {
            error: error.into(),
            may_be_stored: false,
        }
    }
}

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
/// Only where connections name their grants, or where a revocation ends this consent only:
/// elsewhere its end may be that of another connection.
pub(super) async fn revoke_unstored(
    app: &AppState,
    connector: &dyn Connector,
    scope: &TenantScope,
    grant: &NewGrant,
    failure: &Unstored,
) {
    // The grant of a denied flow has ended, or another request ends it.
    let has_ended = matches!(failure.error, ApiError::Denied(_));
    let is_shared = connector.grant_key(&grant.account).is_some();
    // After a commit whose response was lost, the connection may use the grant.
    let is_alone = connector.descriptor().tokens.revokes_one_consent && !failure.may_be_stored;
    if !has_ended && (is_shared || is_alone) {
        revoke_unless_shared(app, connector, scope, &revocable(grant)).await;
    }
}

/// Revokes the grant that a connection had before a new one replaced it.
///
/// Only where a revocation ends one consent: elsewhere both are the same grant. The provider may
/// have ended it already.
pub(super) async fn revoke_replaced(connector: &dyn Connector, previous: &Grant, grant: &NewGrant) {
    let current = grant.tokens.as_ref();
    let current = current.and_then(|tokens| tokens.refresh_token.as_ref());
    let current = current.map(ExposeSecret::expose_secret);
    let replaced = previous.refresh_token.as_ref();
    let replaced = replaced.map(ExposeSecret::expose_secret);
    if replaced.is_none() || current.is_none() || replaced == current {
        return;
    }
    let revoked = timeout(REVOKE_TIMEOUT, connector.revoke(previous)).await;
    let revoked = revoked.map_err(|_| ApiError::TimedOut);
    let revoked = revoked.and_then(|revoked| revoked.map_err(ApiError::Connector));
    if let Err(error) = revoked {
        tracing::warn!(
            provider = connector.descriptor().slug,
            error = &error as &dyn std::error::Error,
            "failed to revoke a replaced grant"
        );
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
