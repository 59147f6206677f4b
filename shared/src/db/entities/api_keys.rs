//! `api_keys`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::model::{ApiKeyId, TenantId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) id: ApiKeyId,
    pub(in crate::db) name: String,
    pub(in crate::db) key_hash: Vec<u8>,
    pub(in crate::db) hint: String,
    pub(in crate::db) scopes: Vec<String>,
    pub(in crate::db) created_at: DateTime<Utc>,
    pub(in crate::db) expires_at: Option<DateTime<Utc>>,
    pub(in crate::db) revoked_at: Option<DateTime<Utc>>,
    pub(in crate::db) last_used_at: Option<DateTime<Utc>>,
}

tenant_entity!(TenantId);
