//! Webhook keys of connections, sealed for ingress.
//!
//! They have a separate table and encryption key, because ingress must decrypt them and nothing
//! else. A connection has one current key, a secret or a public key of the provider, and for
//! [`ROTATION_OVERLAP`] after a rotation the previous one. A secret that the provider generates is
//! accepted once, while the connection is armed, and ends every earlier key at once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::Row;
use uuid::Uuid;

use super::{Db, DbError, TenantScope, Tx};
use crate::crypto::{Keyring, PublicKey, SealContext, random_token};
use crate::model::{ConnectionId, TenantId};

/// The time for which the previous key stays valid after a rotation.
pub const ROTATION_OVERLAP: Duration = Duration::from_hours(24);
/// The time for which an armed connection accepts a secret from the provider.
const ARMING_TTL: Duration = Duration::from_mins(15);
/// Random bytes in a secret.
const SECRET_BYTES: usize = 32;

/// The valid sealed keys of a connection.
#[derive(Debug)]
pub struct SealedKeys {
    /// The connection's tenant.
    pub tenant: TenantId,
    /// No key, one, or two during a rotation.
    pub keys: Vec<SealedKey>,
}

/// A sealed key.
#[derive(Debug)]
pub struct SealedKey {
    /// The sealed key.
    pub sealed: Vec<u8>,
    /// Whether it is a public key rather than a secret.
    pub is_public: bool,
}

/// A newly generated secret.
#[derive(Debug)]
pub struct NewSecret {
    /// The secret; only its sealed form is stored.
    pub secret: SecretString,
    /// When the previous key expires; `None` if there was none.
    pub previous_expires_at: Option<DateTime<Utc>>,
}

/// The context that a webhook key is bound to: a public key cannot be decrypted as a secret.
pub const fn seal_context(
    tenant: TenantId,
    connection: ConnectionId,
    is_public: bool,
) -> SealContext<'static> {
    SealContext {
        tenant,
        connection: connection.0,
        holder: "",
        field: if is_public {
            "webhook_public_key"
        } else {
            "webhook_secret"
        },
    }
}

/// Generates a connection's webhook secret, replacing its current key.
///
/// The caller holds the lock on the connection.
pub async fn rotate(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    keyring: &Keyring,
) -> Result<NewSecret, DbError> {
    let secret = random_token(SECRET_BYTES);
    let context = seal_context(scope.tenant_id(), connection, false);
    let sealed = keyring.seal(&context, &secret);
    Ok(NewSecret {
        secret,
        previous_expires_at: put(tx, scope, connection, &sealed, false).await?,
    })
}

/// Sets the connection's key to a public key; returns when the previous key expires.
///
/// The caller holds the lock on the connection.
pub async fn put_public_key(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    key: &PublicKey,
    keyring: &Keyring,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let context = seal_context(scope.tenant_id(), connection, true);
    let sealed = keyring.seal(&context, &key.as_pem().into());
    put(tx, scope, connection, &sealed, true).await
}

async fn put(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    sealed: &[u8],
    is_public: bool,
) -> Result<Option<DateTime<Utc>>, DbError> {
    Ok(
        sqlx::query_scalar("SELECT put_webhook_key($1, $2, $3, $4, $5, $6)")
            .bind(scope.tenant_id())
            .bind(connection)
            .bind(Uuid::now_v7())
            .bind(sealed)
            .bind(is_public)
            .bind(ROTATION_OVERLAP)
            .fetch_one(&mut **tx)
            .await?,
    )
}

/// Arms a connection to accept one secret from its provider; returns until when.
pub async fn arm(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<DateTime<Utc>, DbError> {
    Ok(sqlx::query_scalar(
        "INSERT INTO webhook_arming (tenant_id, connection_id, armed_until) \
         VALUES ($1, $2, now() + $3) \
         ON CONFLICT (tenant_id, connection_id) DO UPDATE SET armed_until = excluded.armed_until \
         RETURNING armed_until",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(ARMING_TTL)
    .fetch_one(&mut **tx)
    .await?)
}

/// Stores a sealed secret that ingress received from the provider, in place of every earlier key.
///
/// Returns `false` if the connection is not armed, or has already received a secret.
pub async fn accept(
    db: &Db,
    tenant: TenantId,
    connection: ConnectionId,
    sealed: &[u8],
) -> Result<bool, DbError> {
    // Not as a single statement: that could be sent twice, and the second execution is rejected.
    let mut tx = db.begin_unscoped().await?;
    let accepted = sqlx::query_scalar("SELECT accept_webhook_secret($1, $2, $3, $4)")
        .bind(tenant)
        .bind(connection)
        .bind(Uuid::now_v7())
        .bind(sealed)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(accepted)
}

/// Deletes all keys of a connection, and disarms it.
pub async fn erase(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<(), DbError> {
    for statement in [
        // First, so that no secret is accepted after the secrets are deleted.
        "DELETE FROM webhook_arming WHERE tenant_id = $1 AND connection_id = $2",
        "DELETE FROM webhook_secrets WHERE tenant_id = $1 AND connection_id = $2",
    ] {
        sqlx::query(statement)
            .bind(scope.tenant_id())
            .bind(connection)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Returns the valid keys of a connection to which deliveries can be sent.
///
/// Served by `connection_routes_connection` and the primary key of `webhook_secrets`.
pub async fn find(
    db: &Db,
    provider: &str,
    connection: ConnectionId,
) -> Result<Option<SealedKeys>, DbError> {
    let rows = sqlx::query(
        "SELECT r.tenant_id, s.secret, s.is_public_key FROM connection_routes r \
         LEFT JOIN webhook_secrets s ON s.tenant_id = r.tenant_id \
             AND s.connection_id = r.connection_id \
             AND (s.expires_at IS NULL OR s.expires_at > now()) \
         WHERE r.connection_id = $1 AND r.provider = $2 \
         ORDER BY s.expires_at DESC NULLS FIRST",
    )
    .bind(connection)
    .bind(provider)
    .fetch_all(db)
    .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut keys = Vec::new();
    for row in &rows {
        if let Some(sealed) = row.try_get::<Option<Vec<u8>>, _>("secret")? {
            let is_public = row.try_get("is_public_key")?;
            keys.push(SealedKey { sealed, is_public });
        }
    }
    Ok(Some(SealedKeys {
        tenant: first.try_get("tenant_id")?,
        keys,
    }))
}
