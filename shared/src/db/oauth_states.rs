//! OAuth states: one per authorization step of a connect flow.
//!
//! A state is identified by its hash, is valid once and for ten minutes, and is bound to one
//! tenant, provider, connect link and browser. The response to its callback is stored sealed, for a
//! browser that repeats the callback.

use chrono::{DateTime, Utc};

use super::{Db, DbError, TenantScope, Tx};
use crate::model::TenantId;

/// A state to create.
#[derive(Debug)]
pub struct NewOauthState<'a> {
    /// SHA-256 of the state.
    pub state_hash: [u8; 32],
    /// The provider's slug.
    pub provider: &'a str,
    /// SHA-256 of the token of the flow's connect link.
    pub link_hash: [u8; 32],
    /// SHA-256 of the browser's cookie.
    pub browser_hash: [u8; 32],
    /// The sealed secrets of the step.
    pub sealed: &'a [u8],
    /// Where the browser is redirected at the end.
    pub return_to: Option<&'a str>,
}

/// The state of an authorization step that has begun.
#[derive(Debug, Clone)]
pub struct OauthState {
    /// The scope of its tenant.
    pub scope: TenantScope,
    /// SHA-256 of the state.
    pub state_hash: [u8; 32],
    /// The provider's slug.
    pub provider: String,
    /// SHA-256 of the token of the flow's connect link.
    pub link_hash: [u8; 32],
    /// SHA-256 of the browser's cookie.
    pub browser_hash: [u8; 32],
    /// The sealed secrets of the step.
    pub sealed: Vec<u8>,
    /// Where the browser is redirected at the end.
    pub return_to: Option<String>,
    /// Whether the callback was received before.
    pub used: bool,
    /// The sealed response to the callback; `None` while it is being processed.
    pub response: Option<Vec<u8>>,
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
    response: Option<Vec<u8>>,
}

/// Creates a state; returns when it expires.
pub async fn create(
    tx: &mut Tx,
    scope: &TenantScope,
    state: &NewOauthState<'_>,
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

/// Returns the state with this hash, used or not, unless it has expired.
pub async fn find(db: &Db, state_hash: [u8; 32]) -> Result<Option<OauthState>, DbError> {
    let mut tx = db.begin_by_secret(&state_hash).await?;
    let row = sqlx::query_as::<_, Row>(
        "SELECT tenant_id, provider, link_hash, browser_hash, sealed, return_to, \
                used_at IS NOT NULL AS used, response \
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
            link_hash: parse_hash(row.link_hash)?,
            browser_hash: parse_hash(row.browser_hash)?,
            sealed: row.sealed,
            return_to: row.return_to,
            used: row.used,
            response: row.response,
        })
    })
    .transpose()
}

fn parse_hash(bytes: Vec<u8>) -> Result<[u8; 32], DbError> {
    bytes
        .try_into()
        .map_err(|_| DbError::Corrupt("oauth_states: hash length"))
}

/// Consumes a state; `true` once, and only for its own browser.
pub async fn consume(
    tx: &mut Tx,
    scope: &TenantScope,
    state_hash: &[u8; 32],
    browser_hash: &[u8; 32],
) -> Result<bool, DbError> {
    let result = sqlx::query(
        "UPDATE oauth_states SET used_at = now() \
         WHERE tenant_id = $1 AND state_hash = $2 AND browser_hash = $3 \
           AND used_at IS NULL AND expires_at > now()",
    )
    .bind(scope.tenant_id())
    .bind(state_hash.to_vec())
    .bind(browser_hash.to_vec())
    .execute(&mut **tx)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Stores the response to the callback of a consumed state.
pub async fn record_response(
    tx: &mut Tx,
    scope: &TenantScope,
    state_hash: &[u8; 32],
    response: &[u8],
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE oauth_states SET response = $3 \
         WHERE tenant_id = $1 AND state_hash = $2 AND used_at IS NOT NULL",
    )
    .bind(scope.tenant_id())
    .bind(state_hash.to_vec())
    .bind(response)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
