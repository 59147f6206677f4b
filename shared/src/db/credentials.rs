//! Rows of sealed credentials, and the lease of the process that refreshes them.
//!
//! A connection has one row for each holder of tokens. [`crate::credentials`] seals and opens them.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::entities::connection_routes;
use super::orm::Scoped;
use super::{DbError, TenantScope, Tx, sanitize};
use crate::model::{ConnectionId, TokenHolder};

/// The key of a credential: a connection and the holder of the tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CredentialKey {
    /// The connection.
    pub connection: ConnectionId,
    /// The account, or a person.
    pub holder: TokenHolder,
}

impl CredentialKey {
    /// The key of the account's tokens.
    pub const fn account(connection: ConnectionId) -> Self {
        Self {
            connection,
            holder: TokenHolder::Account,
        }
    }

    /// The key of a person's tokens, by the provider's id of the person.
    pub fn user(connection: ConnectionId, user_id: &str) -> Self {
        Self {
            connection,
            holder: TokenHolder::User(sanitize(user_id).into_owned()),
        }
    }
}

/// A holder's sealed tokens.
#[derive(Debug, sqlx::FromRow)]
pub struct SealedCredential {
    /// Counts the tokens that the holder has had.
    pub version: i64,
    /// The sealed access token.
    pub access_token: Option<Vec<u8>>,
    /// The sealed refresh token.
    pub refresh_token: Option<Vec<u8>>,
    /// When the access token expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// The person whose user token the connection has as well.
    pub user_id: Option<String>,
}

/// Sealed tokens to store.
#[derive(Debug, Default)]
pub struct NewSealed {
    /// The access token.
    pub access_token: Option<Vec<u8>>,
    /// The refresh token.
    pub refresh_token: Option<Vec<u8>>,
    /// When the access token expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// When the access token is refreshed ahead of its use.
    pub refresh_at: Option<DateTime<Utc>>,
    /// When the refresh token expires.
    pub refresh_expires_at: Option<DateTime<Utc>>,
    /// Whether the previous refresh token remains valid if there is no new one.
    pub keeps_refresh_token: bool,
}

/// Returns the credential, if the holder has one.
pub async fn get(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &CredentialKey,
) -> Result<Option<SealedCredential>, DbError> {
    Ok(sqlx::query_as(
        "SELECT version, access_token, refresh_token, expires_at, \
             (SELECT min(substring(u.holder FROM '^user:(.*)')) FROM credentials u \
              WHERE u.tenant_id = $1 AND u.connection_id = $2) AS user_id \
         FROM credentials WHERE tenant_id = $1 AND connection_id = $2 AND holder = $3",
    )
    .bind(scope.tenant_id())
    .bind(key.connection)
    .bind(key.holder.to_string())
    .fetch_optional(&mut **tx)
    .await?)
}

/// Stores the tokens of a new grant in place of any previous ones.
///
/// Versions continue after those of erased tokens: an attempt to refresh those is in the log, and
/// concerns no later token.
///
/// A refresh token that remains valid is kept with its expiry.
pub async fn put(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &CredentialKey,
    tokens: &NewSealed,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO credentials AS own (tenant_id, connection_id, holder, version, access_token, \
             refresh_token, expires_at, refresh_expires_at) \
         SELECT $1, $2, $3, 1 + coalesce(max(version), 0), $4, $5, $6, $7 FROM token_refresh_log \
         WHERE tenant_id = $1 AND connection_id = $2 AND holder = $3 \
         ON CONFLICT (tenant_id, connection_id, holder) DO UPDATE SET \
             version = own.version + 1, access_token = excluded.access_token, \
             refresh_token = CASE WHEN excluded.refresh_token IS NULL AND $8 \
                 THEN own.refresh_token ELSE excluded.refresh_token END, \
             expires_at = excluded.expires_at, \
             refresh_expires_at = CASE WHEN excluded.refresh_token IS NULL AND $8 \
                 THEN own.refresh_expires_at ELSE excluded.refresh_expires_at END, \
             refresh_lease = NULL, refresh_lease_until = NULL, updated_at = now()",
    )
    .bind(scope.tenant_id())
    .bind(key.connection)
    .bind(key.holder.to_string())
    .bind(&tokens.access_token)
    .bind(&tokens.refresh_token)
    .bind(tokens.expires_at)
    .bind(tokens.refresh_expires_at)
    .bind(tokens.keeps_refresh_token)
    .execute(&mut **tx)
    .await?;
    set_refresh_at(tx, scope, key, tokens.refresh_at).await
}

/// The right to refresh a token.
#[derive(Debug, Clone, Copy)]
pub struct RefreshLease {
    /// The fencing token.
    pub id: Uuid,
    /// Whether the provider's response to an earlier refresh of the same token was lost.
    pub response_lost: bool,
}

/// Tries to lease the refresh of version `version`.
///
/// The attempt is logged before the call to the provider, so that a crash between the provider's
/// response and our commit stays visible.
pub async fn acquire_refresh_lease(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &CredentialKey,
    version: i64,
    seconds: f64,
) -> Result<Option<RefreshLease>, DbError> {
    let lease = Uuid::now_v7();
    let holder = key.holder.to_string();
    let leased = sqlx::query(
        "UPDATE credentials SET refresh_lease = $5, refresh_attempted_at = now(), \
             refresh_lease_until = now() + $6 * interval '1 second' \
         WHERE tenant_id = $1 AND connection_id = $2 AND holder = $3 AND version = $4 \
           AND (refresh_lease_until IS NULL OR refresh_lease_until < now())",
    )
    .bind(scope.tenant_id())
    .bind(key.connection)
    .bind(&holder)
    .bind(version)
    .bind(lease)
    .bind(seconds)
    .execute(&mut **tx)
    .await?;
    if leased.rows_affected() == 0 {
        return Ok(None);
    }
    let response_lost: bool = sqlx::query_scalar(
        "WITH attempt AS ( \
             INSERT INTO token_refresh_log (tenant_id, connection_id, id, version, holder) \
             VALUES ($1, $2, $5, $4, $3) \
         ), expired AS ( \
             DELETE FROM token_refresh_log WHERE tenant_id = $1 AND connection_id = $2 \
               AND attempted_at < now() - interval '30 days' \
         ) \
         SELECT EXISTS (SELECT FROM token_refresh_log \
             WHERE tenant_id = $1 AND connection_id = $2 AND holder = $3 AND version = $4 \
               AND (outcome IS NULL OR outcome = 'transient'))",
    )
    .bind(scope.tenant_id())
    .bind(key.connection)
    .bind(&holder)
    .bind(version)
    .bind(lease)
    .fetch_one(&mut **tx)
    .await?;
    Ok(Some(RefreshLease {
        id: lease,
        response_lost,
    }))
}

/// Returns until when a holder's refreshes of the last `window` seconds exceed `refreshes`.
///
/// The attempt whose lease this transaction holds counts. The lease's row lock orders the callers.
pub async fn quota_exceeded_until(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &CredentialKey,
    refreshes: i64,
    window: f64,
) -> Result<Option<DateTime<Utc>>, DbError> {
    Ok(sqlx::query_scalar(
        "SELECT max(attempted_at) + $5 * interval '1 second' FROM ( \
             SELECT attempted_at FROM token_refresh_log \
             WHERE tenant_id = $1 AND connection_id = $2 AND holder = $3 \
               AND attempted_at > now() - $5 * interval '1 second' \
             ORDER BY attempted_at DESC OFFSET $4 \
         ) AS beyond",
    )
    .bind(scope.tenant_id())
    .bind(key.connection)
    .bind(key.holder.to_string())
    .bind(refreshes)
    .bind(window)
    .fetch_one(&mut **tx)
    .await?)
}

/// Logs the outcome of a refresh attempt.
async fn log_outcome(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &CredentialKey,
    lease: Uuid,
    outcome: &str,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE token_refresh_log SET ended_at = now(), outcome = $4 \
         WHERE tenant_id = $1 AND connection_id = $2 AND id = $3",
    )
    .bind(scope.tenant_id())
    .bind(key.connection)
    .bind(lease)
    .bind(outcome)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stores refreshed tokens and returns their version, if the lease is still held.
pub async fn store_refreshed(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &CredentialKey,
    lease: Uuid,
    tokens: &NewSealed,
) -> Result<Option<i64>, DbError> {
    // Lock the route before the tokens: the order of `connect` and `disconnect`.
    connection_routes::Entity::scoped(scope)
        .select_only()
        .column(connection_routes::Column::ConnectionId)
        .filter(connection_routes::Column::ConnectionId.eq(key.connection))
        .lock_exclusive()
        .into_tuple::<ConnectionId>()
        .one(&tx.orm())
        .await?;
    let version: Option<i64> = sqlx::query_scalar(
        "UPDATE credentials SET version = version + 1, access_token = $5, \
             refresh_token = coalesce($6, refresh_token), expires_at = $7, \
             refresh_expires_at = coalesce($8, refresh_expires_at), refresh_lease = NULL, \
             refresh_lease_until = NULL, refresh_attempted_at = NULL, updated_at = now() \
         WHERE tenant_id = $1 AND connection_id = $2 AND holder = $3 AND refresh_lease = $4 \
         RETURNING version",
    )
    .bind(scope.tenant_id())
    .bind(key.connection)
    .bind(key.holder.to_string())
    .bind(lease)
    .bind(&tokens.access_token)
    .bind(&tokens.refresh_token)
    .bind(tokens.expires_at)
    .bind(tokens.refresh_expires_at)
    .fetch_optional(&mut **tx)
    .await?;
    if version.is_some() {
        log_outcome(tx, scope, key, lease, "renewed").await?;
        set_refresh_at(tx, scope, key, tokens.refresh_at).await?;
    }
    Ok(version)
}

/// Releases the lease after a failed attempt; `outcome` is the reason.
pub async fn release_refresh_lease(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &CredentialKey,
    lease: Uuid,
    outcome: &str,
) -> Result<(), DbError> {
    log_outcome(tx, scope, key, lease, outcome).await?;
    sqlx::query(
        "UPDATE credentials SET refresh_lease = NULL, refresh_lease_until = NULL \
         WHERE tenant_id = $1 AND connection_id = $2 AND holder = $3 AND refresh_lease = $4",
    )
    .bind(scope.tenant_id())
    .bind(key.connection)
    .bind(key.holder.to_string())
    .bind(lease)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes one holder's tokens after a permanent refusal, if the lease is still held.
///
/// The tokens of a grant that was given meanwhile are kept.
pub async fn erase_leased(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &CredentialKey,
    lease: Uuid,
) -> Result<(), DbError> {
    log_outcome(tx, scope, key, lease, "grant_revoked").await?;
    sqlx::query(
        "DELETE FROM credentials \
         WHERE tenant_id = $1 AND connection_id = $2 AND holder = $3 AND refresh_lease = $4",
    )
    .bind(scope.tenant_id())
    .bind(key.connection)
    .bind(key.holder.to_string())
    .bind(lease)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes one holder's tokens.
pub async fn erase(tx: &mut Tx, scope: &TenantScope, key: &CredentialKey) -> Result<(), DbError> {
    sqlx::query(
        "DELETE FROM credentials WHERE tenant_id = $1 AND connection_id = $2 AND holder = $3",
    )
    .bind(scope.tenant_id())
    .bind(key.connection)
    .bind(key.holder.to_string())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes the tokens of a connection's holders, except the `kept` ones.
///
/// Locks all rows of the connection in the order of their holders, as `sealed::reseal` does, so
/// that the caller can replace the kept tokens afterwards.
pub async fn erase_others(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    kept: &[&TokenHolder],
) -> Result<(), DbError> {
    let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
    sqlx::query(
        "WITH locked AS ( \
             SELECT holder FROM credentials WHERE tenant_id = $1 AND connection_id = $2 \
             ORDER BY holder FOR UPDATE \
         ) \
         DELETE FROM credentials c USING locked l \
         WHERE c.tenant_id = $1 AND c.connection_id = $2 AND c.holder = l.holder \
           AND l.holder <> ALL ($3)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(kept)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Schedules the refresh of the account's token.
///
/// A user token is refreshed on demand.
async fn set_refresh_at(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &CredentialKey,
    refresh_at: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    if key.holder != TokenHolder::Account {
        return Ok(());
    }
    let route = connection_routes::ActiveModel {
        refresh_at: Set(refresh_at),
        ..Default::default()
    };
    connection_routes::Entity::update_of(scope, key.connection)
        .set(route)
        .exec(&tx.orm())
        .await?;
    Ok(())
}
