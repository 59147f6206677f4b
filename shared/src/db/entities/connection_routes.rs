//! `connection_routes`.

use chrono::{DateTime, Utc};
use sea_orm::UpdateMany;
use sea_orm::entity::prelude::*;

use crate::db::TenantScope;
use crate::db::orm::Scoped;
use crate::model::{ConnectionId, TenantId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "connection_routes")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) connection_id: ConnectionId,
    pub(in crate::db) provider: String,
    pub(in crate::db) account_id: String,
    pub(in crate::db) exclusive: bool,
    pub(in crate::db) polling: bool,
    pub(in crate::db) poll_interval_seconds: i32,
    pub(in crate::db) next_sync_at: DateTime<Utc>,
    pub(in crate::db) refresh_at: Option<DateTime<Utc>>,
    pub(in crate::db) subscriptions_at: Option<DateTime<Utc>>,
    pub(in crate::db) probe_at: Option<DateTime<Utc>>,
    #[sea_orm(
        column_type = "Interval(None, None)",
        select_as = "text",
        save_as = "interval"
    )]
    pub(in crate::db) probe_interval: Option<String>,
    pub(in crate::db) probed_at: Option<DateTime<Utc>>,
    pub(in crate::db) streams_requested_at: Option<DateTime<Utc>>,
    pub(in crate::db) grant_key: Option<Vec<u8>>,
    pub(in crate::db) grant_released: bool,
    pub(in crate::db) routed_at: DateTime<Utc>,
    pub(in crate::db) health_review_at: DateTime<Utc>,
}

tenant_entity!(TenantId);

impl Entity {
    /// Updates the route of a connection.
    pub(in crate::db) fn update_of(
        scope: &TenantScope,
        connection: ConnectionId,
    ) -> UpdateMany<Self> {
        Self::update_scoped(scope).filter(Column::ConnectionId.eq(connection))
    }
}
