//! The audit log of changes to a tenant's grants, keys, jobs and deliveries.
//!
//! Entries are written in the transaction of the change. They never contain a secret or a
//! provider's text.

use std::fmt;

use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use uuid::Uuid;

use super::entities::audit_log::{ActiveModel, Entity};
use super::{DbError, Json, TenantScope, Tx};
use crate::model::ApiKeyId;

/// The actor of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditActor {
    /// A client with an operator token.
    Operator,
    /// A client with a tenant's API key.
    ApiKey(ApiKeyId),
    /// The person in the browser of a connect flow.
    Browser,
    /// The provider, by a webhook or a response.
    Provider,
}

impl fmt::Display for AuditActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::ApiKey(id) => write!(f, "api_key:{id}"),
            Self::Browser => f.write_str("browser"),
            Self::Provider => f.write_str("provider"),
        }
    }
}

/// An entry of the audit log.
#[derive(Debug)]
pub struct AuditEntry {
    actor: AuditActor,
    action: &'static str,
    target: Option<String>,
    detail: Value,
}

impl AuditEntry {
    /// Creates an entry; `action` is a noun and a past participle: `connection.paused`.
    pub fn new(actor: AuditActor, action: &'static str) -> Self {
        Self {
            actor,
            action,
            target: None,
            detail: json!({}),
        }
    }

    /// Sets the id of the changed object.
    #[must_use]
    pub fn target(mut self, id: impl fmt::Display) -> Self {
        self.target = Some(id.to_string());
        self
    }

    /// Sets further details, a JSON object.
    #[must_use]
    pub fn detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

/// Writes an entry.
pub async fn record(tx: &mut Tx, scope: &TenantScope, entry: &AuditEntry) -> Result<(), DbError> {
    let row = ActiveModel {
        tenant_id: Set(scope.tenant_id()),
        id: Set(Uuid::now_v7()),
        actor: Set(entry.actor.to_string()),
        action: Set(entry.action.to_owned()),
        target: Set(entry.target.clone()),
        detail: Set(Json(entry.detail.clone())),
        ..Default::default()
    };
    Entity::insert(row)
        .exec_without_returning(&tx.orm())
        .await?;
    Ok(())
}
