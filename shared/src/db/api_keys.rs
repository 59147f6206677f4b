//! API keys of tenants. A key is shown once, when it is made; what is kept is its SHA-256,
//! which is enough for a value of 256 random bits.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{Page, PageRequest};
use super::{Db, DbError, TenantScope, Tx};
use crate::crypto;
use crate::ids::{ApiKeyId, TenantId};

/// What every key begins with, so that scanners for leaked secrets can know it.
pub const KEY_PREFIX: &str = "pbk_";
/// Random bytes in a key.
const KEY_BYTES: usize = 32;
/// Characters of a key that are kept readable, the prefix included.
const HINT_CHARS: usize = 10;

/// What a key may do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    IntoStaticStr,
    EnumString,
    VariantArray,
)]
pub enum ApiScope {
    /// Read the feed and its Signals.
    #[serde(rename = "signals:read")]
    #[strum(serialize = "signals:read")]
    SignalsRead,
    /// See connections.
    #[serde(rename = "connections:read")]
    #[strum(serialize = "connections:read")]
    ConnectionsRead,
    /// Connect, change and disconnect.
    #[serde(rename = "connections:write")]
    #[strum(serialize = "connections:write")]
    ConnectionsWrite,
    /// See jobs.
    #[serde(rename = "jobs:read")]
    #[strum(serialize = "jobs:read")]
    JobsRead,
    /// Start, retry and cancel jobs.
    #[serde(rename = "jobs:write")]
    #[strum(serialize = "jobs:write")]
    JobsWrite,
    /// See webhook deliveries (never their bodies).
    #[serde(rename = "deliveries:read")]
    #[strum(serialize = "deliveries:read")]
    DeliveriesRead,
}

impl ApiScope {
    /// The scope's name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An API key, without the key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// What its owner calls it.
    pub name: String,
    /// Its first characters, enough to recognize it by.
    pub hint: String,
    /// What it may do.
    pub scopes: Vec<ApiScope>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was ended.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A key that has just been made: the only time it can be read.
#[derive(Debug)]
pub struct CreatedKey {
    /// Its record.
    pub key: ApiKey,
    /// The key itself.
    pub secret: SecretString,
}

/// What a presented key proves.
#[derive(Debug, Clone)]
pub struct AuthenticatedKey {
    /// Whose rows it opens.
    pub scope: TenantScope,
    /// Which key it is.
    pub id: ApiKeyId,
    /// What it may do.
    pub scopes: Vec<ApiScope>,
    /// Whether its last use is not noted yet for this minute: [`touch`] notes it.
    pub use_unnoted: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: ApiKeyId,
    name: String,
    hint: String,
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for ApiKey {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            name: row.name,
            hint: row.hint,
            scopes: parse_scopes(&row.scopes)?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        })
    }
}

/// Makes a key. `expires_in_days` is counted by the database's clock.
pub async fn create(
    tx: &mut Tx,
    scope: &TenantScope,
    name: &str,
    scopes: &[ApiScope],
    expires_in_days: Option<i32>,
) -> Result<CreatedKey, DbError> {
    let random = crypto::random_token(KEY_BYTES);
    let secret = format!("{KEY_PREFIX}{}", random.expose_secret());
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let row = sqlx::query_as::<_, Row>(
        "INSERT INTO api_keys (tenant_id, id, name, key_hash, hint, scopes, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(days => $7)) \
         RETURNING id, name, hint, scopes, created_at, expires_at, revoked_at, last_used_at",
    )
    .bind(scope.tenant_id())
    .bind(ApiKeyId::generate())
    .bind(name)
    .bind(crypto::sha256(secret.as_bytes()).to_vec())
    .bind(&secret[..HINT_CHARS])
    .bind(scopes)
    .bind(expires_in_days)
    .fetch_one(&mut **tx)
    .await?;
    Ok(CreatedKey {
        key: row.try_into()?,
        secret: secret.into(),
    })
}

/// A tenant's keys, newest first, ended ones included.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    request: &PageRequest,
) -> Result<Page<ApiKey>, DbError> {
    let rows = sqlx::query_as::<_, Row>(
        "SELECT id, name, hint, scopes, created_at, expires_at, revoked_at, last_used_at \
         FROM api_keys WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
    )
    .bind(scope.tenant_id())
    .bind(request.before.unwrap_or(Uuid::max()))
    .bind(request.fetch_limit())
    .fetch_all(&mut **tx)
    .await?;
    let keys = rows
        .into_iter()
        .map(ApiKey::try_from)
        .collect::<Result<_, _>>()?;
    Ok(request.page(keys, |key: &ApiKey| key.id.0))
}

/// Ends a key. False when there is no such key; ending an ended one changes nothing.
pub async fn revoke(tx: &mut Tx, scope: &TenantScope, id: ApiKeyId) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whose key this is; `None` when it is unknown, ended or expired, without saying which.
///
/// `tenant` is the key's owner where the caller knows it. It decides whose share of the pool the
/// check takes, and nothing else.
pub async fn authenticate(
    db: &Db,
    presented: &str,
    tenant: Option<TenantId>,
) -> Result<Option<AuthenticatedKey>, DbError> {
    if !presented.starts_with(KEY_PREFIX) {
        return Ok(None);
    }
    let _place = db.share_of_client(tenant).await?;
    let found = sqlx::query_as::<_, (TenantId, ApiKeyId, Vec<String>, bool)>(
        "SELECT tenant_id, id, scopes, use_unnoted FROM key_owner($1)",
    )
    .bind(crypto::sha256(presented.as_bytes()).to_vec())
    .fetch_optional(db)
    .await?;
    let Some((tenant, id, scopes, use_unnoted)) = found else {
        return Ok(None);
    };
    let scopes = parse_scopes(&scopes)?;
    Ok(Some(AuthenticatedKey {
        scope: TenantScope::new(tenant),
        id,
        scopes,
        use_unnoted,
    }))
}

/// Which of these keys are neither revoked nor expired; one statement for all.
pub async fn live(db: &Db, keys: &[(TenantScope, ApiKeyId)]) -> Result<HashSet<ApiKeyId>, DbError> {
    let mut scopes: Vec<TenantScope> = keys.iter().map(|(scope, _)| *scope).collect();
    scopes.sort_unstable_by_key(TenantScope::tenant_id);
    scopes.dedup();
    let mut tx = db.begin_many(&scopes).await?;
    let live: Vec<ApiKeyId> = sqlx::query_scalar(
        "SELECT k.id FROM unnest($1::uuid[], $2::uuid[]) asked (tenant_id, id) \
         JOIN api_keys k ON k.tenant_id = asked.tenant_id AND k.id = asked.id \
         WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())",
    )
    .bind(
        keys.iter()
            .map(|(scope, _)| scope.tenant_id())
            .collect::<Vec<_>>(),
    )
    .bind(keys.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(live.into_iter().collect())
}

/// Notes that a key is in use, at most once a minute.
pub async fn touch(db: &Db, scope: &TenantScope, id: ApiKeyId) -> Result<(), DbError> {
    let mut tx = db.begin(scope).await?;
    sqlx::query(
        "UPDATE api_keys SET last_used_at = now() \
         WHERE tenant_id = $1 AND id = $2 \
           AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
    )
    .bind(scope.tenant_id())
    .bind(id)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

fn parse_scopes(scopes: &[String]) -> Result<Vec<ApiScope>, DbError> {
    scopes
        .iter()
        .map(|scope| {
            scope
                .parse()
                .map_err(|_| DbError::Corrupt("api_keys.scopes"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_one_name_everywhere() {
        for scope in ApiScope::VARIANTS {
            let json = serde_json::to_value(scope).expect("serializable");
            assert_eq!(json, scope.as_str());
            assert_eq!(scope.as_str().parse::<ApiScope>().ok(), Some(*scope));
        }
    }
}
