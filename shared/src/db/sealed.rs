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
use crate::crypto::{CryptoError, Keyring, SealContext};
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

/// The numbers of values of a kind, by the key that opens them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Values that the current key opens.
    pub current: u64,
    /// Values that a previous key opens.
    pub previous: u64,
    /// Values whose key is not in the keyring.
    pub unknown: u64,
    /// Values that are malformed, or not authentic in their row.
    pub damaged: u64,
    /// Connections with values that do not open.
    pub connections: BTreeSet<Uuid>,
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

    fn context(&self) -> SealContext<'_> {
        SealContext {
            tenant: self.tenant_id,
            connection: self.connection_id,
            holder: &self.holder,
            field: &self.field,
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

/// Opens all values of a kind without changing any.
///
/// Without a keyring each value counts as one of an unknown key. Runs in the api-server's role.
pub async fn open_all(
    db: &Db,
    kind: SealedKind,
    keyring: Option<&Keyring>,
) -> Result<OpenReport, DbError> {
    let mut report = OpenReport::default();
    let mut after = None;
    loop {
        let scopes = list_tenants_after(db, after).await?;
        let Some(last) = scopes.last() else {
            return Ok(report);
        };
        after = Some(last.tenant_id());
        let mut position = SealedValue::start();
        loop {
            let mut tx = db.begin_many(&scopes).await?;
            let page = find(&mut tx, &scopes, kind, None, &position).await?;
            tx.end_read();
            let Some(last) = page.last() else {
                break;
            };
            position = last.clone();
            for value in &page {
                report.count(value, keyring);
            }
        }
    }
}

impl OpenReport {
    fn count(&mut self, value: &SealedValue, keyring: Option<&Keyring>) {
        let opened = keyring.ok_or(CryptoError::UnknownKey).and_then(|keyring| {
            keyring
                .open(&value.context(), &value.sealed)
                .map(|_| keyring)
        });
        match opened {
            Ok(keyring) if value.sealed.starts_with(&keyring.header()) => self.current += 1,
            Ok(_) => self.previous += 1,
            Err(error) => {
                self.connections.insert(value.connection_id);
                match error {
                    CryptoError::UnknownKey => self.unknown += 1,
                    CryptoError::Malformed | CryptoError::NotAuthentic => self.damaged += 1,
                }
            }
        }
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
        let page = find(&mut tx, scopes, kind, Some(keyring), &position).await?;
        let Some(last) = page.last().cloned() else {
            tx.end_read();
            return Ok(());
        };
        position = last;
        let mut undecryptable = BTreeSet::new();
        for value in &page {
            let context = value.context();
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

/// Finds the next values, in the order in which transactions lock their rows.
///
/// With a keyring these are the values under other keys than its current one.
async fn find(
    tx: &mut Tx,
    scopes: &[TenantScope],
    kind: SealedKind,
    keyring: Option<&Keyring>,
    after: &SealedValue,
) -> Result<Vec<SealedValue>, DbError> {
    let tenants: Vec<TenantId> = scopes.iter().map(TenantScope::tenant_id).collect();
    let find = format!(
        "SELECT tenant_id, connection_id, holder, field, sealed FROM ({}) AS s \
         WHERE sealed IS NOT NULL \
           AND ($2 IS NULL OR substring(sealed FROM 1 FOR octet_length($2)) <> $2) \
           AND (tenant_id, connection_id, holder, field, sealed) > ($3, $4, $5, $6, $7) \
         ORDER BY tenant_id, connection_id, holder, field, sealed LIMIT $8",
        kind.columns()
    );
    Ok(sqlx::query_as(AssertSqlSafe(find))
        .bind(tenants)
        .bind(keyring.map(|keyring| keyring.header().to_vec()))
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
