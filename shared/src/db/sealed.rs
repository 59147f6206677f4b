//! Re-encryption of sealed values with the current key after a key rotation.
//!
//! A pass finds values under other keys by the header of every sealed value, decrypts them and
//! seals them again. It skips a value that changes meanwhile, because its replacement is sealed
//! with the current key.

use std::collections::BTreeSet;

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::entities::tenants::{Column, Entity};
use super::orm::across_tenants;
use super::{Db, DbError, TenantScope, Tx};
use crate::crypto::{Keyring, SealContext};
use crate::model::TenantId;

/// Maximum number of tenants per statement.
const MAX_TENANTS: u64 = 200;
/// Maximum number of values per transaction.
const MAX_VALUES: i64 = 200;

/// A kind of values that one keyring seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedKind {
    /// Tokens of accounts and persons.
    Tokens,
    /// Webhook keys of connections.
    WebhookKeys,
}

/// The numbers of values that a pass found under other keys than the current one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResealReport {
    /// Values that were sealed with a previous key, and are sealed again.
    pub previous: u64,
    /// Values that no key of the keyring can decrypt.
    pub unknown: u64,
}

/// The columns of [`SealedKind::Tokens`], with the holder and field that their values are bound to.
const TOKENS: &str = "SELECT tenant_id, connection_id, holder, 'access_token' AS field, \
        access_token AS sealed FROM credentials WHERE tenant_id = ANY ($1) \
    UNION ALL SELECT tenant_id, connection_id, holder, 'refresh_token', refresh_token \
        FROM credentials WHERE tenant_id = ANY ($1)";

/// The columns of [`SealedKind::WebhookKeys`], with the field that their values are bound to.
const WEBHOOK_KEYS: &str = "SELECT tenant_id, connection_id, '' AS holder, \
        CASE WHEN is_public_key THEN 'webhook_public_key' ELSE 'webhook_secret' END AS field, \
        secret AS sealed FROM webhook_secrets WHERE tenant_id = ANY ($1)";

/// The statement that replaces a value of a field, unless it has changed.
fn replace_statement(field: &str) -> Option<&'static str> {
    Some(match field {
        "access_token" => {
            "UPDATE credentials SET access_token = $4 \
             WHERE tenant_id = $1 AND connection_id = $2 AND holder = $5 AND access_token = $3"
        }
        "refresh_token" => {
            "UPDATE credentials SET refresh_token = $4 \
             WHERE tenant_id = $1 AND connection_id = $2 AND holder = $5 AND refresh_token = $3"
        }
        "webhook_secret" | "webhook_public_key" => {
            "UPDATE webhook_secrets SET secret = $4 \
             WHERE tenant_id = $1 AND connection_id = $2 AND $5 = '' AND secret = $3"
        }
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

/// A sealed value with its key, holder and field.
#[derive(Debug, Clone, sqlx::FromRow)]
struct SealedValue {
    tenant_id: TenantId,
    connection_id: Uuid,
    holder: String,
    field: String,
    sealed: Vec<u8>,
}

impl SealedValue {
    /// A position before every value.
    const fn start() -> Self {
        Self {
            tenant_id: TenantId(Uuid::nil()),
            connection_id: Uuid::nil(),
            holder: String::new(),
            field: String::new(),
            sealed: Vec::new(),
        }
    }
}

/// Seals all values of a kind with the current key.
///
/// Runs in the api-server, whose role may write all of them.
pub async fn reseal(db: &Db, kind: SealedKind, keyring: &Keyring) -> Result<ResealReport, DbError> {
    let mut report = ResealReport::default();
    let mut after = None;
    loop {
        let scopes = list_tenants_after(db, after).await?;
        let Some(last) = scopes.last() else {
            return Ok(report);
        };
        after = Some(last.tenant_id());
        reseal_tenants(db, &scopes, kind, keyring, &mut report).await?;
    }
}

/// Lists the next tenants in the order of their ids.
async fn list_tenants_after(db: &Db, after: Option<TenantId>) -> Result<Vec<TenantScope>, DbError> {
    let ids: Vec<TenantId> = across_tenants::<Entity>()
        .select_only()
        .column(Column::Id)
        .apply_if(after, |tenants, after| tenants.filter(Column::Id.gt(after)))
        .order_by_asc(Column::Id)
        .limit(MAX_TENANTS)
        .into_tuple()
        .all(&db.orm())
        .await?;
    Ok(ids.into_iter().map(TenantScope::new).collect())
}

async fn reseal_tenants(
    db: &Db,
    scopes: &[TenantScope],
    kind: SealedKind,
    keyring: &Keyring,
    report: &mut ResealReport,
) -> Result<(), DbError> {
    let mut position = SealedValue::start();
    loop {
        let mut tx = db.begin_many(scopes).await?;
        let page = find(&mut tx, scopes, kind, keyring, &position).await?;
        let Some(last) = page.last().cloned() else {
            tx.end_read();
            return Ok(());
        };
        position = last;
        let mut undecryptable = BTreeSet::new();
        for value in &page {
            let context = SealContext {
                tenant: value.tenant_id,
                connection: value.connection_id,
                holder: &value.holder,
                field: &value.field,
            };
            if let Ok(secret) = keyring.open(&context, &value.sealed) {
                let sealed = keyring.seal(&context, &secret);
                replace(&mut tx, value, &sealed).await?;
                report.previous += 1;
            } else {
                undecryptable.insert(value.connection_id);
                report.unknown += 1;
            }
        }
        tx.commit().await?;
        if !undecryptable.is_empty() {
            tracing::error!(
                sealed.kind = kind.as_str(),
                connection.ids = ?undecryptable,
                "failed to decrypt sealed values: a previous key is missing or the rows were changed"
            );
        }
    }
}

/// Finds the next values under other keys, in the order in which transactions lock their rows.
async fn find(
    tx: &mut Tx,
    scopes: &[TenantScope],
    kind: SealedKind,
    keyring: &Keyring,
    after: &SealedValue,
) -> Result<Vec<SealedValue>, DbError> {
    let tenants: Vec<TenantId> = scopes.iter().map(TenantScope::tenant_id).collect();
    let find = format!(
        "SELECT tenant_id, connection_id, holder, field, sealed FROM ({}) AS s \
         WHERE substring(sealed FROM 1 FOR octet_length($2)) <> $2 \
           AND (tenant_id, connection_id, holder, field, sealed) > ($3, $4, $5, $6, $7) \
         ORDER BY tenant_id, connection_id, holder, field, sealed LIMIT $8",
        kind.columns()
    );
    Ok(sqlx::query_as(AssertSqlSafe(find))
        .bind(tenants)
        .bind(keyring.header().as_slice())
        .bind(after.tenant_id)
        .bind(after.connection_id)
        .bind(&after.holder)
        .bind(&after.field)
        .bind(&after.sealed)
        .bind(MAX_VALUES)
        .fetch_all(&mut **tx)
        .await?)
}

/// Replaces a sealed value, unless it has changed.
async fn replace(tx: &mut Tx, value: &SealedValue, sealed: &[u8]) -> Result<(), DbError> {
    let statement = replace_statement(&value.field).ok_or(DbError::Corrupt("sealed value"))?;
    sqlx::query(statement)
        .bind(value.tenant_id)
        .bind(value.connection_id)
        .bind(&value.sealed)
        .bind(sealed)
        .bind(&value.holder)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
