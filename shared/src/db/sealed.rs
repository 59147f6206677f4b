//! Sealed values, moved to the current key after a rotation.
//!
//! A pass finds what another key has sealed by the header that every sealed value begins with,
//! used or not, opens it and seals it anew. A value that changes meanwhile is left alone: whatever
//! replaces it is sealed with the current key.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{Db, DbError, TenantScope, Tx};
use crate::crypto::{Keyring, SealContext};
use crate::ids::TenantId;

/// Tenants whose rows one statement looks at.
const TENANTS: i64 = 200;
/// Values that one transaction moves.
const PAGE: i64 = 200;

/// Values of one sort, sealed by one keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedKind {
    /// Tokens of accounts and of the people who connected them.
    Tokens,
    /// Webhook keys of connections.
    WebhookKeys,
}

/// What a pass has found under other keys than the current one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Values that a previous key opens.
    pub previous: u64,
    /// Values that no key of the keyring opens.
    pub unknown: u64,
}

/// The columns of [`SealedKind::Tokens`], each with the field that its values are bound to.
const TOKENS: &str = "SELECT tenant_id, connection_id, 'access_token' AS field, \
        access_token AS sealed FROM credentials WHERE tenant_id = ANY ($1) \
    UNION ALL SELECT tenant_id, connection_id, 'refresh_token', refresh_token \
        FROM credentials WHERE tenant_id = ANY ($1) \
    UNION ALL SELECT tenant_id, connection_id, 'person_access_token', access_token \
        FROM person_credentials WHERE tenant_id = ANY ($1) \
    UNION ALL SELECT tenant_id, connection_id, 'person_refresh_token', refresh_token \
        FROM person_credentials WHERE tenant_id = ANY ($1)";

/// The same of [`SealedKind::WebhookKeys`].
const WEBHOOK_KEYS: &str = "SELECT tenant_id, connection_id, \
        CASE WHEN is_public_key THEN 'webhook_public_key' ELSE 'webhook_secret' END AS field, \
        secret AS sealed FROM webhook_secrets WHERE tenant_id = ANY ($1)";

/// Replaces a value in its column, unless it has changed.
macro_rules! replace {
    ($table:literal, $column:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " SET ",
            $column,
            " = $4 \
             WHERE tenant_id = $1 AND connection_id = $2 AND ",
            $column,
            " = $3"
        )
    };
}

/// The statement that replaces a value of a field.
fn replacing(field: &str) -> Option<&'static str> {
    Some(match field {
        "access_token" => replace!("credentials", "access_token"),
        "refresh_token" => replace!("credentials", "refresh_token"),
        "person_access_token" => replace!("person_credentials", "access_token"),
        "person_refresh_token" => replace!("person_credentials", "refresh_token"),
        "webhook_secret" | "webhook_public_key" => replace!("webhook_secrets", "secret"),
        _ => return None,
    })
}

impl SealedKind {
    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "token",
            Self::WebhookKeys => "webhook_key",
        }
    }

    const fn columns(self) -> &'static str {
        match self {
            Self::Tokens => TOKENS,
            Self::WebhookKeys => WEBHOOK_KEYS,
        }
    }
}

/// A sealed value, and where it belongs.
#[derive(Debug, Clone, sqlx::FromRow)]
struct SealedValue {
    tenant_id: TenantId,
    connection_id: Uuid,
    field: String,
    sealed: Vec<u8>,
}

impl SealedValue {
    /// Before every other value.
    const fn first() -> Self {
        Self {
            tenant_id: TenantId(Uuid::nil()),
            connection_id: Uuid::nil(),
            field: String::new(),
            sealed: Vec::new(),
        }
    }

    /// Rows are locked connection by connection, the account's before the person's, as every other
    /// transaction locks them.
    fn lock_order(&self) -> (TenantId, Uuid, bool) {
        let is_persons = self.field.starts_with("person_");
        (self.tenant_id, self.connection_id, is_persons)
    }
}

/// Seals all values of a kind anew that another key than the current one has sealed. For the
/// api-server, which may write them all.
pub async fn reseal(db: &Db, kind: SealedKind, keyring: &Keyring) -> Result<Resealed, DbError> {
    let mut found = Resealed::default();
    let mut behind = None;
    loop {
        let scopes = tenants_behind(db, behind).await?;
        let Some(last) = scopes.last() else {
            return Ok(found);
        };
        behind = Some(last.tenant_id());
        reseal_of(db, &scopes, kind, keyring, &mut found).await?;
    }
}

/// The next tenants in the order of their ids.
async fn tenants_behind(db: &Db, behind: Option<TenantId>) -> Result<Vec<TenantScope>, DbError> {
    let ids: Vec<TenantId> = sqlx::query_scalar(
        "SELECT id FROM tenants WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2",
    )
    .bind(behind)
    .bind(TENANTS)
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(TenantScope::new).collect())
}

async fn reseal_of(
    db: &Db,
    scopes: &[TenantScope],
    kind: SealedKind,
    keyring: &Keyring,
    found: &mut Resealed,
) -> Result<(), DbError> {
    let mut place = SealedValue::first();
    loop {
        let mut tx = db.begin_many(scopes).await?;
        let mut page = find(&mut tx, scopes, kind, keyring, &place).await?;
        let Some(last) = page.last().cloned() else {
            tx.leave();
            return Ok(());
        };
        place = last;
        page.sort_by_key(SealedValue::lock_order);
        let mut unopened = BTreeSet::new();
        for value in &page {
            let context = SealContext {
                tenant: value.tenant_id,
                connection: value.connection_id,
                field: &value.field,
            };
            if let Ok(opened) = keyring.open(&context, &value.sealed) {
                let sealed = keyring.seal(&context, &opened);
                replace(&mut tx, value, &sealed).await?;
                found.previous += 1;
            } else {
                unopened.insert(value.connection_id);
                found.unknown += 1;
            }
        }
        tx.commit().await?;
        if !unopened.is_empty() {
            tracing::error!(
                sealed.kind = kind.as_str(),
                connection.ids = ?unopened,
                "sealed values do not open; a previous key is missing, or the rows were changed"
            );
        }
    }
}

async fn find(
    tx: &mut Tx,
    scopes: &[TenantScope],
    kind: SealedKind,
    keyring: &Keyring,
    behind: &SealedValue,
) -> Result<Vec<SealedValue>, DbError> {
    let tenants: Vec<TenantId> = scopes.iter().map(TenantScope::tenant_id).collect();
    let find = format!(
        "SELECT tenant_id, connection_id, field, sealed FROM ({}) AS s \
         WHERE substring(sealed FROM 1 FOR octet_length($2)) <> $2 \
           AND (tenant_id, connection_id, field, sealed) > ($3, $4, $5, $6) \
         ORDER BY tenant_id, connection_id, field, sealed LIMIT $7",
        kind.columns()
    );
    Ok(sqlx::query_as(AssertSqlSafe(find))
        .bind(tenants)
        .bind(keyring.header().as_slice())
        .bind(behind.tenant_id)
        .bind(behind.connection_id)
        .bind(&behind.field)
        .bind(&behind.sealed)
        .bind(PAGE)
        .fetch_all(&mut **tx)
        .await?)
}

/// Replaces a value with the same one under the current key.
async fn replace(tx: &mut Tx, value: &SealedValue, sealed: &[u8]) -> Result<(), DbError> {
    let statement = replacing(&value.field).ok_or(DbError::Corrupt("sealed value"))?;
    sqlx::query(statement)
        .bind(value.tenant_id)
        .bind(value.connection_id)
        .bind(&value.sealed)
        .bind(sealed)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
