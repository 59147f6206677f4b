//! `subscriptions`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use serde_json::Value as JsonValue;

use crate::db::Json;
use crate::model::{ConnectionId, TenantId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "subscriptions")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    pub(in crate::db) connection_id: ConnectionId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) id: Uuid,
    pub(in crate::db) resource: String,
    pub(in crate::db) target: Json<JsonValue>,
    pub(in crate::db) route: Option<String>,
    pub(in crate::db) desired: bool,
    pub(in crate::db) external_id: Option<String>,
    pub(in crate::db) refused_events: Vec<String>,
    pub(in crate::db) attempted_at: Option<DateTime<Utc>>,
    pub(in crate::db) planned_id: Option<String>,
    pub(in crate::db) state: Json<JsonValue>,
    pub(in crate::db) expires_at: Option<DateTime<Utc>>,
    pub(in crate::db) renewed_at: Option<DateTime<Utc>>,
    pub(in crate::db) listed_at: Option<DateTime<Utc>>,
    pub(in crate::db) created_at: DateTime<Utc>,
}

tenant_entity!(TenantId);
