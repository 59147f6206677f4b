//! The legs of connect flows.
//!
//! A state is known by its hash alone, serves once, ends after ten minutes, and belongs to one
//! tenant, one provider, one link and one browser. The answer that its callback gave is kept,
//! sealed, for the browser that sends the callback again.

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
    /// SHA-256 of the token of the link that the flow began with.
    pub link_hash: [u8; 32],
    /// SHA-256 of the browser's cookie.
    pub browser_hash: [u8; 32],
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
    /// SHA-256 of the token of the link that the flow began with.
    pub link_hash: [u8; 32],
    /// SHA-256 of the browser's cookie.
    pub browser_hash: [u8; 32],
    /// The leg's secrets, sealed.
    pub sealed: Vec<u8>,
    /// Where the browser goes at the end.
    pub return_to: Option<String>,
    /// Whether the callback came before.
    pub used: bool,
    /// What it was answered, sealed; `None` while it is being worked on.
    pub answer: Option<Vec<u8>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: TenantId,
    provider: String,
    link_hash: Vec<u8>,
    browser_hash: Vec<u8>,
    sealed: Vec<u8>,
    return_to: Option<String>,
    used: bool,
    answer: Option<Vec<u8>>,
}

/// Begins a leg; answers when it ends.
pub async fn create(
    tx: &mut Tx,
    scope: &TenantScope,
    state: &NewState<'_>,
) -> Result<DateTime<Utc>, DbError> {
    let expires_at = sqlx::query_scalar(
        "INSERT INTO oauth_states \
             (tenant_id, state_hash, provider, link_hash, browser_hash, sealed, return_to, \
              expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, now() + interval '10 minutes') \
         RETURNING expires_at",
    )
    .bind(scope.tenant_id())
    .bind(state.state_hash.to_vec())
    .bind(state.provider)
    .bind(state.link_hash.to_vec())
    .bind(state.browser_hash.to_vec())
    .bind(state.sealed)
    .bind(state.return_to)
    .fetch_one(&mut **tx)
    .await?;
    Ok(expires_at)
}

/// The leg with this state, used or not, unless it has expired.
pub async fn find(db: &Db, state_hash: [u8; 32]) -> Result<Option<OauthState>, DbError> {
    let mut tx = db.begin_by_secret(&state_hash).await?;
    let row = sqlx::query_as::<_, Row>(
        "SELECT tenant_id, provider, link_hash, browser_hash, sealed, return_to, \
                used_at IS NOT NULL AS used, answer \
         FROM oauth_states WHERE state_hash = $1 AND expires_at > now() \
           AND link_hash IS NOT NULL AND browser_hash IS NOT NULL",
    )
    .bind(state_hash.to_vec())
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(|row| {
        Ok(OauthState {
            scope: TenantScope::new(row.tenant_id),
            state_hash,
            provider: row.provider,
            link_hash: hash(row.link_hash)?,
            browser_hash: hash(row.browser_hash)?,
            sealed: row.sealed,
            return_to: row.return_to,
            used: row.used,
            answer: row.answer,
        })
    })
    .transpose()
}

fn hash(bytes: Vec<u8>) -> Result<[u8; 32], DbError> {
    bytes
        .try_into()
        .map_err(|_| DbError::Corrupt("a hash of a connect flow has another length"))
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

/// Keeps the answer of a leg that is used up.
pub async fn record_answer(
    tx: &mut Tx,
    scope: &TenantScope,
    state_hash: &[u8; 32],
    answer: &[u8],
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE oauth_states SET answer = $3 \
         WHERE tenant_id = $1 AND state_hash = $2 AND used_at IS NOT NULL",
    )
    .bind(scope.tenant_id())
    .bind(state_hash.to_vec())
    .bind(answer)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
