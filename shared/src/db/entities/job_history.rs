//! `job_history`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use serde_json::Value as JsonValue;

use crate::db::Json;
use crate::model::{ConnectionId, JobId, JobKind, JobState, TenantId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job_history")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) id: JobId,
    pub(in crate::db) kind: JobKind,
    pub(in crate::db) provider: String,
    pub(in crate::db) connection_id: Option<ConnectionId>,
    pub(in crate::db) cursor_window: Option<String>,
    pub(in crate::db) state: JobState,
    pub(in crate::db) priority: i16,
    pub(in crate::db) attempts: i16,
    pub(in crate::db) max_attempts: i16,
    pub(in crate::db) payload: Json<JsonValue>,
    pub(in crate::db) last_error: Option<Json<JsonValue>>,
    pub(in crate::db) traceparent: Option<String>,
    pub(in crate::db) created_at: DateTime<Utc>,
    pub(in crate::db) started_at: Option<DateTime<Utc>>,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) finished_at: DateTime<Utc>,
}

tenant_entity!(TenantId);
