//! `tenants`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::model::TenantId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenants")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) id: TenantId,
    pub(in crate::db) name: String,
    pub(in crate::db) created_at: DateTime<Utc>,
}

tenant_entity!(Id);
