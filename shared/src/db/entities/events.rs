//! `events`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use serde_json::Value as JsonValue;

use crate::db::Json;
use crate::model::{ConnectionId, EventId, TenantId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) id: EventId,
    #[sea_orm(column_name = "type")]
    pub(in crate::db) event_type: String,
    pub(in crate::db) provider: String,
    pub(in crate::db) connection_id: Option<ConnectionId>,
    pub(in crate::db) subscription_id: Option<Uuid>,
    pub(in crate::db) data: Json<JsonValue>,
    pub(in crate::db) dedupe_key: Option<String>,
    pub(in crate::db) created_at: DateTime<Utc>,
}

tenant_entity!(TenantId);
