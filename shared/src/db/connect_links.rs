//! Connect links: a tenant's offer to connect one account at one provider.
//!
//! A link is identified by the hash of its token and is not bound to a browser. The first flow that
//! ends with a connection consumes it. A flow that waits for an administrator extends it until the
//! approval expires, so that the administrator can open the same link.

use chrono::{DateTime, Utc};

use super::{Db, DbError, TenantScope, Tx};
use crate::model::{ConnectionId, TenantId};

/// A link that can be opened.
#[derive(Debug, Clone)]
pub struct ConnectLink {
    /// The scope of its tenant.
    pub scope: TenantScope,
    /// SHA-256 of its token.
    pub link_hash: [u8; 32],
    /// The provider's slug.
    pub provider: String,
    /// Where the browser is redirected at the end.
    pub return_to: Option<String>,
    /// The pending connection that an administrator approves by opening the link.
    pub pending: Option<ConnectionId>,
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: TenantId,
    provider: String,
    return_to: Option<String>,
    connection_id: Option<ConnectionId>,
}

/// Creates a link; returns when it expires.
pub async fn create(
    tx: &mut Tx,
    scope: &TenantScope,
    link_hash: [u8; 32],
    provider: &str,
    return_to: Option<&str>,
) -> Result<DateTime<Utc>, DbError> {
    let expires_at = sqlx::query_scalar(
        "INSERT INTO connect_links (tenant_id, link_hash, provider, return_to, expires_at) \
         VALUES ($1, $2, $3, $4, now() + interval '10 minutes') RETURNING expires_at",
    )
    .bind(scope.tenant_id())
    .bind(link_hash.to_vec())
    .bind(provider)
    .bind(return_to)
    .fetch_one(&mut **tx)
    .await?;
    Ok(expires_at)
}

/// Returns the link with this hash, unless it is consumed or expired.
pub async fn find(db: &Db, link_hash: [u8; 32]) -> Result<Option<ConnectLink>, DbError> {
    let mut tx = db.begin_by_secret(&link_hash).await?;
    let row = sqlx::query_as::<_, Row>(
        "SELECT tenant_id, provider, return_to, connection_id FROM connect_links \
         WHERE link_hash = $1 AND used_at IS NULL AND expires_at > now()",
    )
    .bind(link_hash.to_vec())
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(row.map(|row| ConnectLink {
        scope: TenantScope::new(row.tenant_id),
        link_hash,
        provider: row.provider,
        return_to: row.return_to,
        pending: row.connection_id,
    }))
}

/// Consumes a link and returns its pending connection; `None` if it is already consumed.
///
/// A flow that began in time may end after the link has expired.
pub async fn consume(
    tx: &mut Tx,
    scope: &TenantScope,
    link_hash: &[u8],
) -> Result<Option<Option<ConnectionId>>, DbError> {
    let pending = sqlx::query_scalar(
        "UPDATE connect_links SET used_at = now() \
         WHERE tenant_id = $1 AND link_hash = $2 AND used_at IS NULL RETURNING connection_id",
    )
    .bind(scope.tenant_id())
    .bind(link_hash)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(pending)
}

/// Locks a link and returns its pending connection; `None` if it is already consumed.
pub async fn lock(
    tx: &mut Tx,
    scope: &TenantScope,
    link_hash: &[u8],
) -> Result<Option<Option<ConnectionId>>, DbError> {
    let pending = sqlx::query_scalar(
        "SELECT connection_id FROM connect_links \
         WHERE tenant_id = $1 AND link_hash = $2 AND used_at IS NULL FOR UPDATE",
    )
    .bind(scope.tenant_id())
    .bind(link_hash)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(pending)
}

/// Extends a link until the approval of its pending connection expires.
pub async fn extend_for_approval(
    tx: &mut Tx,
    scope: &TenantScope,
    link_hash: &[u8],
    connection: ConnectionId,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE connect_links l SET connection_id = c.id, \
             expires_at = greatest(l.expires_at, c.pending_until) \
         FROM connections c \
         WHERE l.tenant_id = $1 AND l.link_hash = $2 AND c.tenant_id = $1 AND c.id = $3 \
           AND c.status = 'pending'",
    )
    .bind(scope.tenant_id())
    .bind(link_hash)
    .bind(connection)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
