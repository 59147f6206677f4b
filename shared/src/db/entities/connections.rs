//! `connections`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use serde_json::Value as JsonValue;

use crate::db::Json;
use crate::model::{ConnectionId, ConnectionStatus, TenantId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "connections")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) id: ConnectionId,
    pub(in crate::db) provider: String,
    pub(in crate::db) status: ConnectionStatus,
    pub(in crate::db) status_reason: Option<String>,
    pub(in crate::db) account_id: Option<String>,
    pub(in crate::db) account_name: Option<String>,
    pub(in crate::db) account_stable_id: Option<String>,
    pub(in crate::db) settings: Json<JsonValue>,
    pub(in crate::db) scopes: Vec<String>,
    pub(in crate::db) requester: Option<String>,
    pub(in crate::db) pending_until: Option<DateTime<Utc>>,
    pub(in crate::db) administrator: Option<String>,
    pub(in crate::db) administrator_proved_at: Option<DateTime<Utc>>,
    pub(in crate::db) poll_interval_seconds: i32,
    pub(in crate::db) run_seconds: i32,
    pub(in crate::db) last_sync_at: Option<DateTime<Utc>>,
    pub(in crate::db) last_error: Option<Json<JsonValue>>,
    pub(in crate::db) backfill_started_at: Option<DateTime<Utc>>,
    pub(in crate::db) backfilled_at: Option<DateTime<Utc>>,
    pub(in crate::db) complete_through: Option<DateTime<Utc>>,
    #[sea_orm(column_type = "custom(\"xid8\")", select_as = "text", save_as = "xid8")]
    pub(in crate::db) complete_tx: Option<String>,
    pub(in crate::db) previous_complete_through: Option<DateTime<Utc>>,
    pub(in crate::db) reconciled_through: Option<DateTime<Utc>>,
    pub(in crate::db) previous_reconciled_through: Option<DateTime<Utc>>,
    pub(in crate::db) held_back_by: Option<Json<JsonValue>>,
    pub(in crate::db) missed_count: i64,
    pub(in crate::db) run_missed: i64,
    pub(in crate::db) missed_at: Option<DateTime<Utc>>,
    pub(in crate::db) poll_boost: i16,
    pub(in crate::db) health: String,
    pub(in crate::db) health_reason: String,
    pub(in crate::db) health_since: DateTime<Utc>,
    pub(in crate::db) connected_at: DateTime<Utc>,
    pub(in crate::db) created_at: DateTime<Utc>,
    pub(in crate::db) updated_at: DateTime<Utc>,
}

tenant_entity!(TenantId);
