//! `audit_log`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use serde_json::Value as JsonValue;

use crate::db::Json;
use crate::model::TenantId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_log")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) id: Uuid,
    pub(in crate::db) at: DateTime<Utc>,
    pub(in crate::db) actor: String,
    pub(in crate::db) action: String,
    pub(in crate::db) target: Option<String>,
    pub(in crate::db) detail: Json<JsonValue>,
}

tenant_entity!(TenantId);
