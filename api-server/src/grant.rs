//! The end of grants that connections may share.

use shared::connectors::{Connector, Grant};
use shared::db::TenantScope;
use shared::db::connections;

use crate::error::ApiError;
use crate::state::AppState;

/// Revokes a grant at its provider unless a connection uses it; returns whether it was revoked.
///
/// A connection that begins to use it meanwhile fails, because the revocation ends its tokens too.
pub(crate) async fn revoke_unless_used(
    app: &AppState,
    connector: &dyn Connector,
    scope: &TenantScope,
    grant: &Grant,
) -> Result<bool, ApiError> {
    let Some(key) = connector.grant_key(&grant.account) else {
        connector.revoke(grant).await.map_err(ApiError::Connector)?;
        return Ok(true);
    };
    let mut tx = app.db.begin(scope).await?;
    let is_used = connections::lock_grant(&mut tx, &key).await?;
    if !is_used {
        connector.revoke(grant).await.map_err(ApiError::Connector)?;
    }
    // Nothing was written. The server ends a transaction of more than ten seconds by itself.
    tx.rollback().await.ok();
    Ok(!is_used)
}
