//! `deliveries`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use serde_json::Value as JsonValue;

use crate::db::Json;
use crate::model::{ConnectionId, DeliveryId, DeliveryOutcome, DeliverySource, TenantId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deliveries")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) received_at: DateTime<Utc>,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) id: DeliveryId,
    pub(in crate::db) source: DeliverySource,
    pub(in crate::db) connection_id: Option<ConnectionId>,
    pub(in crate::db) provider: String,
    pub(in crate::db) account_id: Option<String>,
    pub(in crate::db) dedupe_id: String,
    pub(in crate::db) event: String,
    pub(in crate::db) headers: Json<JsonValue>,
    pub(in crate::db) body: Vec<u8>,
    pub(in crate::db) traceparent: Option<String>,
    pub(in crate::db) outcome: DeliveryOutcome,
    pub(in crate::db) outcome_detail: Option<String>,
    pub(in crate::db) signals: i32,
    pub(in crate::db) processed_at: Option<DateTime<Utc>>,
    pub(in crate::db) copied: bool,
}

tenant_entity!(TenantId);
