//! `connect_links`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::model::{ConnectionId, TenantId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "connect_links")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) link_hash: Vec<u8>,
    pub(in crate::db) provider: String,
    pub(in crate::db) return_to: Option<String>,
    pub(in crate::db) connection_id: Option<ConnectionId>,
    pub(in crate::db) created_at: DateTime<Utc>,
    pub(in crate::db) expires_at: DateTime<Utc>,
    pub(in crate::db) used_at: Option<DateTime<Utc>>,
}

tenant_entity!(TenantId);
