//! The end of grants that connections may share.

use std::time::Duration;

use shared::connectors::{Connector, Grant};
use shared::db::TenantScope;
use shared::db::connections;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::ApiError;
use crate::state::AppState;

/// The time limit for the revocation of a locked grant.
///
/// The server ends a transaction that is idle for ten seconds, and the lock with it.
pub(crate) const REVOKE_TIMEOUT: Duration = Duration::from_secs(8);

/// The number of grants that may be locked at a time.
///
/// Each lock holds a session of the pool during a call to a provider.
static LOCKS: Semaphore = Semaphore::const_new(2);

/// Revokes a grant at its provider unless a connection uses it.
///
/// Returns whether it was revoked. A connection that begins to use it meanwhile fails, because the revocation ends its tokens too.
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
    // It is never closed.
    let _permit = LOCKS.acquire().await.ok();
    let mut tx = app.db.begin(scope).await?;
    let is_used = connections::lock_grant(&mut tx, &key).await?;
    if !is_used {
        let revoked = timeout(REVOKE_TIMEOUT, connector.revoke(grant)).await;
        revoked
            .map_err(|_| ApiError::TimedOut)?
            .map_err(ApiError::Connector)?;
    }
    // Nothing was written.
    tx.rollback().await.ok();
    Ok(!is_used)
}
