//! `GET /v1/audit-log`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::db::audit::{self, AuditFilter, AuditRecord};
use shared::db::page::{Page, PageRequest};
use shared::model::OperatorId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::AuditLogEntry;
use crate::auth::{OperatorRead, Reach};
use crate::error::ApiError;
use crate::query::{FromQuery, Query, QueryReader};
use crate::routes::ListQuery;
use crate::state::AppState;

/// The filters of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditLogQuery {
    /// The action.
    #[param(
        pattern = "^[a-z_]{1,50}\\.[a-z_]{1,50}$",
        example = "connection.paused"
    )]
    pub(crate) action: Option<String>,
    /// The id of the changed object.
    pub(crate) target: Option<Uuid>,
    /// The named operator who acted.
    pub(crate) operator_id: Option<Uuid>,
}

impl FromQuery for (AuditLogQuery, ListQuery) {
    fn read(query: &mut QueryReader) -> Self {
        let filter = AuditLogQuery {
            action: query.value(
                "action",
                "an action such as connection.paused",
                parse_action,
            ),
            target: query.uuid("target"),
            operator_id: query.uuid("operator_id"),
        };
        (filter, ListQuery::read(query))
    }
}

/// Parses a noun and a past participle, separated by a dot.
pub(crate) fn parse_action(text: &str) -> Option<String> {
    let is_word = |word: &str| {
        (1..=50).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    let (noun, verb) = text.split_once('.')?;
    (is_word(noun) && is_word(verb)).then(|| text.to_owned())
}

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditLog {
    pub(crate) entries: Vec<AuditLogEntry>,
    /// The cursor of the next page; null at the end.
    pub(crate) next_cursor: Option<String>,
}

/// List the audit log
///
/// Of all tenants, or of the tenant in `X-Tenant-Id`; the nil UUID has the changes to operators.
/// Entries are never changed or deleted.
#[utoipa::path(
    get,
    path = "/v1/audit-log",
    tag = "operators",
    security(("bearer" = ["operator"])),
    params(
        AuditLogQuery,
        ListQuery,
        ("X-Tenant-Id" = Option<Uuid>, Header, description = "The tenant; all tenants if absent")
    ),
    responses(
        (status = 200, body = AuditLog, description = "A page, newest first"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Tenant not found")
    )
)]
pub(crate) async fn list_audit_log(
    State(state): State<Arc<AppState>>,
    OperatorRead { reach }: OperatorRead,
    Query((query, list)): Query<(AuditLogQuery, ListQuery)>,
) -> Result<Json<AuditLog>, ApiError> {
    let filter = AuditFilter {
        action: query.action,
        target: query.target.map(|id| id.to_string()),
        operator: query.operator_id.map(OperatorId),
    };
    let page = read_page(&state, reach, &filter, &list.page()?).await?;
    Ok(Json(AuditLog {
        entries: page.items.into_iter().map(AuditLogEntry::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Reads a page of one tenant or of all.
pub(crate) async fn read_page(
    state: &AppState,
    reach: Reach,
    filter: &AuditFilter,
    request: &PageRequest,
) -> Result<Page<AuditRecord>, ApiError> {
    let (tx, page) = match reach {
        Reach::Tenant(scope) => {
            let mut tx = state.db.begin(&scope).await?;
            let page = audit::list(&mut tx, &scope, filter, request).await?;
            (tx, page)
        }
        Reach::AllTenants(proof) => {
            let mut tx = state.db.begin_for_operator(proof).await?;
            let page = audit::list_all(&mut tx, proof, filter, request).await?;
            (tx, page)
        }
    };
    tx.commit().await?;
    Ok(page)
}
