//! Connect links: a tenant's offer to connect one account at one provider.
//!
//! A link is identified by the hash of its token and is not bound to a browser. The first flow that
//! ends with a connection consumes it. A flow that waits for an administrator extends it until the
//! approval expires, so that the administrator can open the same link.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QuerySelect};

use super::entities::connect_links::{ActiveModel, Column, Entity};
use super::orm::{Scoped, across_tenants, insert_computed, now};
use super::{Db, DbError, TenantScope, Tx};
use crate::model::ConnectionId;

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

/// A link that is consumed or expired.
#[derive(Debug, Clone)]
pub struct ClosedLink {
    /// The scope of its tenant.
    pub scope: TenantScope,
    /// The provider's slug.
    pub provider: String,
    /// Whether it is consumed; otherwise it has expired.
    pub used: bool,
}

/// Creates a link; returns when it expires.
pub async fn create(
    tx: &mut Tx,
    scope: &TenantScope,
    link_hash: [u8; 32],
    provider: &str,
    return_to: Option<&str>,
) -> Result<DateTime<Utc>, DbError> {
    let row = ActiveModel {
        tenant_id: Set(scope.tenant_id()),
        link_hash: Set(link_hash.to_vec()),
        provider: Set(provider.to_owned()),
        return_to: Set(return_to.map(str::to_owned)),
        ..Default::default()
    };
    let expires_at = (
        Column::ExpiresAt,
        Expr::cust("now() + interval '10 minutes'"),
    );
    let row = insert_computed(&tx.orm(), row, expires_at, [Column::ExpiresAt]).await?;
    Ok(row.try_get("", "expires_at")?)
}

/// Returns the link with this hash, unless it is consumed or expired.
pub async fn find(db: &Db, link_hash: [u8; 32]) -> Result<Option<ConnectLink>, DbError> {
    let mut tx = db.begin_by_secret(&link_hash).await?;
    let row = across_tenants::<Entity>()
        .filter(Column::LinkHash.eq(link_hash.to_vec()))
        .filter(Column::UsedAt.is_null())
        .filter(Column::ExpiresAt.into_expr().gt(now()))
        .one(&tx.orm())
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

/// Returns the link with this hash that [`find`] does not return, until it is deleted.
pub async fn find_closed(db: &Db, link_hash: [u8; 32]) -> Result<Option<ClosedLink>, DbError> {
    let mut tx = db.begin_by_secret(&link_hash).await?;
    let closed = Condition::any()
        .add(Column::UsedAt.is_not_null())
        .add(Column::ExpiresAt.into_expr().lte(now()));
    let row = across_tenants::<Entity>()
        .filter(Column::LinkHash.eq(link_hash.to_vec()))
        .filter(closed)
        .one(&tx.orm())
        .await?;
    tx.commit().await?;
    Ok(row.map(|row| ClosedLink {
        scope: TenantScope::new(row.tenant_id),
        provider: row.provider,
        used: row.used_at.is_some(),
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
    let consumed = Entity::update_scoped(scope)
        .col_expr(Column::UsedAt, now())
        .filter(Column::LinkHash.eq(link_hash))
        .filter(Column::UsedAt.is_null())
        .exec_with_returning(&tx.orm())
        .await?;
    Ok(consumed.first().map(|link| link.connection_id))
}

/// Locks a link and returns its pending connection; `None` if it is already consumed.
pub async fn lock(
    tx: &mut Tx,
    scope: &TenantScope,
    link_hash: &[u8],
) -> Result<Option<Option<ConnectionId>>, DbError> {
    let pending = Entity::scoped(scope)
        .select_only()
        .column(Column::ConnectionId)
        .filter(Column::LinkHash.eq(link_hash))
        .filter(Column::UsedAt.is_null())
        .lock_exclusive();
    Ok(pending.into_tuple().one(&tx.orm()).await?)
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
