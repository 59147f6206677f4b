//! The audit log: changes to a tenant's grants, keys, jobs and deliveries, reads of bodies, and
//! changes to operators.
//!
//! Entries are written in the transaction of the change. They never contain a secret or a
//! provider's text. Entries about the whole service belong to the nil tenant.

use std::collections::{HashMap, HashSet};
use std::fmt;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryTrait, Select};
use serde_json::{Value, json};
use uuid::Uuid;

use super::entities::audit_log::{ActiveModel, Column, Entity, Model};
use super::orm::{Scoped, across_tenants, newest_first};
use super::page::{Page, PageRequest};
use super::{DbError, Json, OperatorProof, TenantScope, Tx, operators};
use crate::model::{ApiKeyId, AuditEntryId, OperatorId, TenantId};

/// The name of the operator whose token is in the settings.
pub const BOOTSTRAP_NAME: &str = "bootstrap";

/// The actor of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditActor {
    /// The operator whose token is in the settings.
    Operator,
    /// A named operator.
    NamedOperator(OperatorId),
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
            Self::NamedOperator(id) => write!(f, "operator:{id}"),
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

/// An entry of the audit log as it is read.
#[derive(Debug, Clone)]
pub struct AuditRecord {
    /// The tenant that the entry belongs to; the nil tenant's concern the whole service.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: AuditEntryId,
    /// When the change was made.
    pub at: DateTime<Utc>,
    /// The kind of actor: `operator`, `api_key`, `browser` or `provider`.
    pub actor_kind: String,
    /// The id of the operator or API key; `None` for the operator of the settings.
    pub actor_id: Option<Uuid>,
    /// The name of the operator.
    pub actor_name: Option<String>,
    /// A noun and a past participle.
    pub action: String,
    /// The id of the changed object.
    pub target: Option<String>,
    /// Further details, a JSON object.
    pub detail: Value,
}

/// The filter of a list of entries; `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// The action.
    pub action: Option<String>,
    /// The id of the changed object.
    pub target: Option<String>,
    /// The named operator who made the change.
    pub operator: Option<OperatorId>,
}

/// Lists a tenant's entries, newest first.
///
/// Scans the primary key backwards or, with a target, the index `audit_log_target`.
pub async fn list(
    tx: &mut Tx,
    scope: &TenantScope,
    filter: &AuditFilter,
    request: &PageRequest,
) -> Result<Page<AuditRecord>, DbError> {
    page(tx, Entity::scoped(scope), filter, request).await
}

/// Lists the entries of all tenants, newest first.
///
/// The transaction must be one of [`super::Db::begin_for_operator`]. Scans the index
/// `audit_log_all`.
pub async fn list_all(
    tx: &mut Tx,
    _proof: OperatorProof,
    filter: &AuditFilter,
    request: &PageRequest,
) -> Result<Page<AuditRecord>, DbError> {
    page(tx, across_tenants::<Entity>(), filter, request).await
}

async fn page(
    tx: &mut Tx,
    entries: Select<Entity>,
    filter: &AuditFilter,
    request: &PageRequest,
) -> Result<Page<AuditRecord>, DbError> {
    let entries = entries
        .apply_if(filter.action.as_deref(), |entries, action| {
            entries.filter(Column::Action.eq(action))
        })
        .apply_if(filter.target.as_deref(), |entries, target| {
            entries.filter(Column::Target.eq(target))
        })
        .apply_if(filter.operator, |entries, operator| {
            let actor = AuditActor::NamedOperator(operator).to_string();
            entries.filter(Column::Actor.eq(actor))
        });
    let rows = newest_first(entries, Column::Id, request)
        .all(&tx.orm())
        .await?;
    let mut page = request.page(
        rows.into_iter().map(AuditRecord::from).collect(),
        |entry: &AuditRecord| entry.id.0,
    );
    let operator_ids: HashSet<OperatorId> = page
        .items
        .iter()
        .filter_map(AuditRecord::operator)
        .collect();
    let names = if operator_ids.is_empty() {
        HashMap::new()
    } else {
        operators::names(tx, operator_ids).await?
    };
    for entry in &mut page.items {
        if entry.actor_kind == "operator" {
            let name = entry.operator().map(|id| names.get(&id).cloned());
            entry.actor_name = name.unwrap_or_else(|| Some(BOOTSTRAP_NAME.to_owned()));
        }
    }
    Ok(page)
}

impl AuditRecord {
    /// The named operator who made the change.
    fn operator(&self) -> Option<OperatorId> {
        self.actor_id
            .filter(|_| self.actor_kind == "operator")
            .map(OperatorId)
    }
}

impl From<Model> for AuditRecord {
    fn from(row: Model) -> Self {
        let (kind, id) = row
            .actor
            .split_once(':')
            .map_or((row.actor.as_str(), None), |(kind, id)| {
                (kind, id.parse().ok())
            });
        Self {
            actor_kind: kind.to_owned(),
            actor_id: id,
            actor_name: None,
            tenant_id: row.tenant_id,
            id: AuditEntryId(row.id),
            at: row.at,
            action: row.action,
            target: row.target,
            detail: row.detail.0,
        }
    }
}
