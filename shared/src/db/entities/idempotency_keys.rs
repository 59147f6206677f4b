//! `idempotency_keys`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use serde_json::Value as JsonValue;

use crate::db::Json;
use crate::model::TenantId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) is_operator: bool,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) key: String,
    pub(in crate::db) request_hash: Vec<u8>,
    pub(in crate::db) status: Option<i16>,
    pub(in crate::db) response: Option<Json<JsonValue>>,
    pub(in crate::db) object_id: Option<Uuid>,
    pub(in crate::db) created_at: DateTime<Utc>,
}

tenant_entity!(TenantId);
