//! API keys of tenants.
//!
//! A key is shown once, when it is created. Only its SHA-256 is stored, which suffices for a value
//! of 256 random bits.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{ColumnTrait, Condition, FromQueryResult, Iterable, QueryFilter};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use super::entities::api_keys::{ActiveModel, Column, Entity, Model};
use super::orm::{Scoped, insert_computed, newest_first, now};
use super::page::{Page, PageRequest};
use super::{Db, DbError, TenantScope, Tx};
use crate::crypto;
use crate::model::{ApiKeyId, TenantId};

/// The prefix of every key, by which secret scanners recognize it.
pub const KEY_PREFIX: &str = "pbk_";
/// Random bytes in a key.
const KEY_BYTES: usize = 32;
/// Number of characters of a key that stay readable, including the prefix.
const HINT_CHARS: usize = 10;

/// A permission of a key.
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
    /// Read connections.
    #[serde(rename = "connections:read")]
    #[strum(serialize = "connections:read")]
    ConnectionsRead,
    /// Connect accounts, change and disconnect connections.
    #[serde(rename = "connections:write")]
    #[strum(serialize = "connections:write")]
    ConnectionsWrite,
    /// Read jobs.
    #[serde(rename = "jobs:read")]
    #[strum(serialize = "jobs:read")]
    JobsRead,
    /// Start, retry and cancel jobs.
    #[serde(rename = "jobs:write")]
    #[strum(serialize = "jobs:write")]
    JobsWrite,
    /// Read webhook deliveries (never their bodies).
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

/// An API key without its secret.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The name that its owner gave it.
    pub name: String,
    /// Its first characters, by which it can be recognized.
    pub hint: String,
    /// Its permissions.
    pub scopes: Vec<ApiScope>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A newly created key, with its secret.
#[derive(Debug)]
pub struct CreatedKey {
    /// The stored key.
    pub key: ApiKey,
    /// The secret, which cannot be read again.
    pub secret: SecretString,
}

/// A valid key that was presented.
#[derive(Debug, Clone)]
pub struct AuthenticatedKey {
    /// The scope of its tenant.
    pub scope: TenantScope,
    /// The key's id.
    pub id: ApiKeyId,
    /// Its permissions.
    pub scopes: Vec<ApiScope>,
    /// Whether [`touch`] must record its use, because none is recorded for this minute.
    pub needs_touch: bool,
}

impl TryFrom<Model> for ApiKey {
    type Error = DbError;

    fn try_from(row: Model) -> Result<Self, DbError> {
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

/// Creates a key; `expires_in_days` counts from the database's time.
pub async fn create(
    tx: &mut Tx,
    scope: &TenantScope,
    name: &str,
    scopes: &[ApiScope],
    expires_in_days: Option<i32>,
) -> Result<CreatedKey, DbError> {
    let random = crypto::random_token(KEY_BYTES);
    let secret = format!("{KEY_PREFIX}{}", random.expose_secret());
    let row = ActiveModel {
        tenant_id: Set(scope.tenant_id()),
        id: Set(ApiKeyId::generate()),
        name: Set(name.to_owned()),
        key_hash: Set(crypto::sha256(secret.as_bytes()).to_vec()),
        hint: Set(secret[..HINT_CHARS].to_owned()),
        scopes: Set(scopes
            .iter()
            .map(|scope| scope.as_str().to_owned())
            .collect()),
        ..Default::default()
    };
    let expires_at = Expr::cust_with_values("now() + make_interval(days => $1)", [expires_in_days]);
    let expires_at = (Column::ExpiresAt, expires_at);
    let row = insert_computed(&tx.orm(), row, expires_at, Column::iter()).await?;
    Ok(CreatedKey {
        key: Model::from_query_result(&row, "")?.try_into()?,
        secret: secret.into(),
    })
}

/// Lists a tenant's keys, newest first, including revoked and expired ones.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    request: &PageRequest,
) -> Result<Page<ApiKey>, DbError> {
    let page = newest_first(Entity::scoped(scope), Column::Id, request);
    let rows = page.all(&tx.orm()).await?;
    let keys = rows
        .into_iter()
        .map(ApiKey::try_from)
        .collect::<Result<_, _>>()?;
    Ok(request.page(keys, |key: &ApiKey| key.id.0))
}

/// Revokes a key; returns whether it exists. Revoking it again changes nothing.
pub async fn revoke(tx: &mut Tx, scope: &TenantScope, id: ApiKeyId) -> Result<bool, DbError> {
    let revoked_at = Func::coalesce([Expr::col(Column::RevokedAt), now()]);
    let result = Entity::update_scoped(scope)
        .col_expr(Column::RevokedAt, revoked_at.into())
        .filter(Column::Id.eq(id))
        .exec(&tx.orm())
        .await?;
    Ok(result.rows_affected == 1)
}

/// Authenticates a presented key; `None` when it is unknown, revoked or expired.
///
/// `tenant` is the key's owner, if the caller knows it. It only selects the share of the pool that
/// the statement uses.
pub async fn authenticate(
    db: &Db,
    presented: &str,
    tenant: Option<TenantId>,
) -> Result<Option<AuthenticatedKey>, DbError> {
    if !presented.starts_with(KEY_PREFIX) {
        return Ok(None);
    }
    let _permit = db.acquire_client_share(tenant).await?;
    let row = sqlx::query_as::<_, (TenantId, ApiKeyId, Vec<String>, bool)>(
        "SELECT tenant_id, id, scopes, needs_touch FROM key_owner($1)",
    )
    .bind(crypto::sha256(presented.as_bytes()).to_vec())
    .fetch_optional(db)
    .await?;
    let Some((tenant, id, scopes, needs_touch)) = row else {
        return Ok(None);
    };
    let scopes = parse_scopes(&scopes)?;
    Ok(Some(AuthenticatedKey {
        scope: TenantScope::new(tenant),
        id,
        scopes,
        needs_touch,
    }))
}

/// Returns the keys that are neither revoked nor expired, with one statement.
pub async fn find_valid(
    db: &Db,
    keys: &[(TenantScope, ApiKeyId)],
) -> Result<HashSet<ApiKeyId>, DbError> {
    let mut scopes: Vec<TenantScope> = keys.iter().map(|(scope, _)| *scope).collect();
    scopes.sort_unstable_by_key(TenantScope::tenant_id);
    scopes.dedup();
    let mut tx = db.begin_many(&scopes).await?;
    let valid: Vec<ApiKeyId> = sqlx::query_scalar(
        "SELECT k.id FROM unnest($1::uuid[], $2::uuid[]) requested (tenant_id, id) \
         JOIN api_keys k ON k.tenant_id = requested.tenant_id AND k.id = requested.id \
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
    Ok(valid.into_iter().collect())
}

/// Records the use of a key, at most once a minute.
pub async fn touch(db: &Db, scope: &TenantScope, id: ApiKeyId) -> Result<(), DbError> {
    let mut tx = db.begin(scope).await?;
    let minute_ago = Expr::cust("now() - interval '1 minute'");
    let unrecorded = Condition::any()
        .add(Column::LastUsedAt.is_null())
        .add(Column::LastUsedAt.into_expr().lt(minute_ago));
    Entity::update_scoped(scope)
        .col_expr(Column::LastUsedAt, now())
        .filter(Column::Id.eq(id))
        .filter(unrecorded)
        .exec(&tx.orm())
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
    fn scope_names_agree_in_json_and_database() {
        for scope in ApiScope::VARIANTS {
            let json = serde_json::to_value(scope).expect("serializable");
            assert_eq!(json, scope.as_str());
            assert_eq!(scope.as_str().parse::<ApiScope>().ok(), Some(*scope));
        }
    }
}
