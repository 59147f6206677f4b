//! `unmatched_accounts`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "unmatched_accounts")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) provider: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) account_id: String,
    pub(in crate::db) deliveries: i64,
    pub(in crate::db) bytes: i64,
    pub(in crate::db) digests: i64,
    pub(in crate::db) updated_at: DateTime<Utc>,
}

shared_entity!();
