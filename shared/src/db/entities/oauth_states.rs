//! `oauth_states`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::model::TenantId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_states")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) state_hash: Vec<u8>,
    pub(in crate::db) link_hash: Option<Vec<u8>>,
    pub(in crate::db) provider: String,
    pub(in crate::db) browser_hash: Option<Vec<u8>>,
    pub(in crate::db) sealed: Vec<u8>,
    pub(in crate::db) response: Option<Vec<u8>>,
    pub(in crate::db) return_to: Option<String>,
    pub(in crate::db) created_at: DateTime<Utc>,
    pub(in crate::db) expires_at: DateTime<Utc>,
    pub(in crate::db) used_at: Option<DateTime<Utc>>,
}

tenant_entity!(TenantId);
