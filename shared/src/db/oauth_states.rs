//! The legs of connect flows. A state is known by its hash alone, serves once, ends after
//! ten minutes, and belongs to one tenant, one provider and, from the moment its link is
//! opened, one browser.

use chrono::{DateTime, Utc};

use super::{Db, DbError, TenantScope, Tx};
use crate::ids::TenantId;

/// A leg to be begun.
#[derive(Debug)]
pub struct NewState<'a> {
    /// SHA-256 of the state.
    pub state_hash: [u8; 32],
    /// The provider's slug.
    pub provider: &'a str,
    /// SHA-256 of the browser's cookie; `None` until the link is opened.
    pub browser_hash: Option<[u8; 32]>,
    /// The leg's secrets, sealed.
    pub sealed: &'a [u8],
    /// Where the browser goes at the end.
    pub return_to: Option<&'a str>,
}

/// A leg that has begun.
#[derive(Debug, Clone)]
pub struct OauthState {
    /// Whose flow it is.
    pub scope: TenantScope,
    /// SHA-256 of the state.
    pub state_hash: [u8; 32],
    /// The provider's slug.
    pub provider: String,
    /// SHA-256 of the browser's cookie; `None` until the link is opened.
    pub browser_hash: Option<Vec<u8>>,
    /// The leg's secrets, sealed.
    pub sealed: Vec<u8>,
    /// Where the browser goes at the end.
    pub return_to: Option<String>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// Whether it may still be used: neither used before nor expired.
    pub live: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: TenantId,
    provider: String,
    browser_hash: Option<Vec<u8>>,
    sealed: Vec<u8>,
    return_to: Option<String>,
    expires_at: DateTime<Utc>,
    live: bool,
}

/// Begins a leg; answers when it ends.
pub async fn create(
    tx: &mut Tx,
    scope: &TenantScope,
    state: &NewState<'_>,
) -> Result<DateTime<Utc>, DbError> {
    let expires_at = sqlx::query_scalar(
        "INSERT INTO oauth_states \
             (tenant_id, state_hash, provider, browser_hash, sealed, return_to, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, now() + interval '10 minutes') RETURNING expires_at",
    )
    .bind(scope.tenant_id())
    .bind(state.state_hash.to_vec())
    .bind(state.provider)
    .bind(state.browser_hash.map(|hash| hash.to_vec()))
    .bind(state.sealed)
    .bind(state.return_to)
    .fetch_one(&mut **tx)
    .await?;
    Ok(expires_at)
}

/// The leg with this state, dead ones included.
pub async fn find(db: &Db, state_hash: [u8; 32]) -> Result<Option<OauthState>, DbError> {
    let mut tx = db.begin_by_secret(&state_hash).await?;
    let row = sqlx::query_as::<_, Row>(
        "SELECT tenant_id, provider, browser_hash, sealed, return_to, expires_at, \
                used_at IS NULL AND expires_at > now() AS live \
         FROM oauth_states WHERE state_hash = $1",
    )
    .bind(state_hash.to_vec())
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(row.map(|row| OauthState {
        scope: TenantScope::new(row.tenant_id),
        state_hash,
        provider: row.provider,
        browser_hash: row.browser_hash,
        sealed: row.sealed,
        return_to: row.return_to,
        expires_at: row.expires_at,
        live: row.live,
    }))
}

/// Gives a live leg to a browser. True for the first browser, and for the same one again.
pub async fn bind_browser(
    tx: &mut Tx,
    scope: &TenantScope,
    state_hash: &[u8; 32],
    browser_hash: &[u8; 32],
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE oauth_states SET browser_hash = $3 \
         WHERE tenant_id = $1 AND state_hash = $2 AND used_at IS NULL AND expires_at > now() \
           AND (browser_hash IS NULL OR browser_hash = $3)",
    )
    .bind(scope.tenant_id())
    .bind(state_hash.to_vec())
    .bind(browser_hash.to_vec())
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Uses a leg up. True once, and only for the browser it belongs to.
pub async fn consume(
    tx: &mut Tx,
    scope: &TenantScope,
    state_hash: &[u8; 32],
    browser_hash: &[u8; 32],
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE oauth_states SET used_at = now() \
         WHERE tenant_id = $1 AND state_hash = $2 AND browser_hash = $3 \
           AND used_at IS NULL AND expires_at > now()",
    )
    .bind(scope.tenant_id())
    .bind(state_hash.to_vec())
    .bind(browser_hash.to_vec())
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
