//! The audit log, for operators.

pub(crate) mod list;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::db::audit::AuditRecord;
use shared::model::{AuditEntryId, TenantId};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Routes;

pub(crate) fn router() -> Routes {
    OpenApiRouter::new().routes(routes!(list::list_audit_log))
}

/// A change, or a read of a body or of raw data.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditLogEntry {
    pub(crate) id: AuditEntryId,
    /// The tenant; the nil UUID for what concerns the whole service.
    pub(crate) tenant_id: TenantId,
    pub(crate) at: DateTime<Utc>,
    pub(crate) actor: AuditLogActor,
    /// A noun and a past participle.
    #[schema(example = "connection.paused")]
    pub(crate) action: String,
    /// The id of the changed object.
    pub(crate) target: Option<String>,
    /// Further details.
    #[schema(value_type = Object, example = json!({"reason": "Ticket 4711"}))]
    pub(crate) detail: serde_json::Value,
}

/// The actor of an entry.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditLogActor {
    /// `operator`, `api_key`, `browser` (the person in a connect flow) or `provider`.
    #[schema(example = "operator")]
    pub(crate) kind: String,
    /// The id of the operator or API key; null for the operator of the settings.
    pub(crate) id: Option<Uuid>,
    /// The name of the operator; `bootstrap` for the operator of the settings.
    #[schema(example = "Ada")]
    pub(crate) name: Option<String>,
}

impl From<AuditRecord> for AuditLogEntry {
    fn from(entry: AuditRecord) -> Self {
        Self {
            id: entry.id,
            tenant_id: entry.tenant_id,
            at: entry.at,
            actor: AuditLogActor {
                kind: entry.actor_kind,
                id: entry.actor_id,
                name: entry.actor_name,
            },
            action: entry.action,
            target: entry.target,
            detail: entry.detail,
        }
    }
}
