//! `operators`.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::model::{OperatorId, OperatorRole};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "operators")]
pub(in crate::db) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::db) id: OperatorId,
    pub(in crate::db) name: String,
    pub(in crate::db) role: OperatorRole,
    pub(in crate::db) token_hash: Vec<u8>,
    pub(in crate::db) hint: String,
    pub(in crate::db) created_at: DateTime<Utc>,
    pub(in crate::db) expires_at: DateTime<Utc>,
    pub(in crate::db) revoked_at: Option<DateTime<Utc>>,
    pub(in crate::db) last_used_at: Option<DateTime<Utc>>,
}

shared_entity!();
