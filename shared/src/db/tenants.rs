//! Tenants, which only operators create and list.
//!
//! A tenant is never looked up by a value that a client merely claims.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, ColumnTrait, QueryFilter, QuerySelect};

use super::audit::{self, AuditActor, AuditEntry};
use super::entities::tenants::{ActiveModel, Column, Entity, Model};
use super::orm::{Scoped, across_tenants, newest_first};
use super::page::{Page, PageRequest};
use super::{Db, DbError, OperatorProof, TenantScope, Tx};
use crate::model::TenantId;

/// A customer's team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, for operators.
    pub name: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

impl From<Model> for Tenant {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            created_at: row.created_at,
        }
    }
}

/// Creates a tenant with an entry in the audit log.
///
/// The transaction's later statements are limited to the rows of no tenant and of the new one.
pub async fn create(tx: &mut Tx, proof: OperatorProof, name: &str) -> Result<Tenant, DbError> {
    let id = TenantId::generate();
    let scope = proof.tenant(id);
    tx.change_scopes(&[proof.unassigned(), scope]).await?;
    let row = ActiveModel {
        id: Set(id),
        name: Set(name.to_owned()),
        ..Default::default()
    };
    let tenant = row.insert(&tx.orm()).await?.into();
    let entry = AuditEntry::new(AuditActor::Operator, "tenant.created").target(id);
    audit::record(tx, &scope, &entry).await?;
    Ok(tenant)
}

/// Lists tenants, newest first.
pub async fn list(
    db: &Db,
    _proof: OperatorProof,
    request: &PageRequest,
) -> Result<Page<Tenant>, DbError> {
    let page = newest_first(across_tenants::<Entity>(), Column::Id, request);
    let rows = page.all(&db.orm()).await?;
    let tenants = rows.into_iter().map(Tenant::from).collect();
    Ok(request.page(tenants, |tenant: &Tenant| tenant.id.0))
}

/// Returns a tenant, if it exists.
pub async fn get(db: &Db, _proof: OperatorProof, id: TenantId) -> Result<Option<Tenant>, DbError> {
    let named = across_tenants::<Entity>().filter(Column::Id.eq(id));
    Ok(named.one(&db.orm()).await?.map(Tenant::from))
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
    let name = Entity::scoped(scope).select_only().column(Column::Name);
    Ok(name.into_tuple().one(&tx.orm()).await?)
}
