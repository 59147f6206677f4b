//! `cursors`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use serde_json::Value as JsonValue;

use crate::db::Json;
use crate::model::{ConnectionId, TenantId};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "cursors")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) connection_id: ConnectionId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) stream: String,
    pub(in crate::db) resource_id: Option<String>,
    pub(in crate::db) target: Json<JsonValue>,
    pub(in crate::db) cursor: Option<Json<JsonValue>>,
    pub(in crate::db) version: i64,
    pub(in crate::db) backfill_from: DateTime<Utc>,
    pub(in crate::db) resync_from: Option<DateTime<Utc>>,
    pub(in crate::db) progress: f32,
    pub(in crate::db) read_through: Option<DateTime<Utc>>,
    pub(in crate::db) attempted_through: Option<DateTime<Utc>>,
    pub(in crate::db) pending_upper_bound: Option<DateTime<Utc>>,
    pub(in crate::db) listed_at: Option<DateTime<Utc>>,
    pub(in crate::db) failing_since: Option<DateTime<Utc>>,
    pub(in crate::db) failures: i32,
    pub(in crate::db) failure: Option<Json<JsonValue>>,
    pub(in crate::db) page_halvings: i16,
    pub(in crate::db) good_pages: i16,
    pub(in crate::db) requested_at: Option<DateTime<Utc>>,
    pub(in crate::db) missed_count: i64,
    pub(in crate::db) reconciled_through: Option<DateTime<Utc>>,
    pub(in crate::db) reconcile_at: DateTime<Utc>,
    pub(in crate::db) reconcile_cursor: Option<Json<JsonValue>>,
    pub(in crate::db) reconcile_upper_bound: Option<DateTime<Utc>>,
    pub(in crate::db) reconcile_failure: Option<Json<JsonValue>>,
    pub(in crate::db) unreconciled_since: Option<DateTime<Utc>>,
    pub(in crate::db) retired_at: Option<DateTime<Utc>>,
    pub(in crate::db) retired_reason: Option<String>,
    pub(in crate::db) created_at: DateTime<Utc>,
    pub(in crate::db) updated_at: DateTime<Utc>,
}

tenant_entity!(TenantId);
