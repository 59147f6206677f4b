//! `delivery_routes`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::model::{ConnectionId, TenantId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "delivery_routes")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) connection_id: ConnectionId,
    pub(in crate::db) provider: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) route: String,
    pub(in crate::db) subscription_id: Option<Uuid>,
    pub(in crate::db) created_at: DateTime<Utc>,
}

tenant_entity!(TenantId);
