//! Tenants, which only operators create and list.
//!
//! A tenant is never looked up by a value that a client merely claims.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::audit::{self, AuditActor, AuditEntry};
use super::page::{Page, PageRequest};
use super::{Db, DbError, OperatorProof, TenantScope, Tx};
use crate::model::TenantId;

/// A customer's team.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, for operators.
    pub name: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// Creates a tenant with an entry in the audit log.
pub async fn create(db: &Db, proof: OperatorProof, name: &str) -> Result<Tenant, DbError> {
    let id = TenantId::generate();
    let scope = proof.tenant(id);
    let mut tx = db.begin(&scope).await?;
    let tenant = sqlx::query_as::<_, Tenant>(
        "INSERT INTO tenants (id, name) VALUES ($1, $2) RETURNING id, name, created_at",
    )
    .bind(id)
    .bind(name)
    .fetch_one(&mut *tx)
    .await?;
    let target = id.to_string();
    let entry = AuditEntry::new(AuditActor::Operator, "tenant.created").target(&target);
    audit::record(&mut tx, &scope, &entry).await?;
    tx.commit().await?;
    Ok(tenant)
}

/// Lists tenants, newest first.
pub async fn list(
    db: &Db,
    _proof: OperatorProof,
    request: &PageRequest,
) -> Result<Page<Tenant>, DbError> {
    let rows = sqlx::query_as::<_, Tenant>(
        "SELECT id, name, created_at FROM tenants WHERE id < $1 ORDER BY id DESC LIMIT $2",
    )
    .bind(request.before.unwrap_or(Uuid::max()))
    .bind(request.fetch_limit())
    .fetch_all(db)
    .await?;
    Ok(request.page(rows, |tenant| tenant.id.0))
}

/// Returns a tenant, if it exists.
pub async fn get(db: &Db, _proof: OperatorProof, id: TenantId) -> Result<Option<Tenant>, DbError> {
    let tenant = sqlx::query_as("SELECT id, name, created_at FROM tenants WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await?;
    Ok(tenant)
}

/// Returns the scope of a tenant that an operator names; `None` if it does not exist.
///
/// The nil id is the scope of rows without a tenant.
pub async fn resolve_scope(
    db: &Db,
    proof: OperatorProof,
    id: TenantId,
) -> Result<Option<TenantScope>, DbError> {
    if id == TenantId::UNASSIGNED {
        return Ok(Some(proof.unassigned()));
    }
    Ok(get(db, proof, id)
        .await?
        .map(|tenant| proof.tenant(tenant.id)))
}

/// Returns the tenant's name.
pub async fn name(tx: &mut Tx, scope: &TenantScope) -> Result<Option<String>, DbError> {
    let name = sqlx::query_scalar("SELECT name FROM tenants WHERE id = $1")
        .bind(scope.tenant_id())
        .fetch_optional(&mut **tx)
        .await?;
    Ok(name)
}
