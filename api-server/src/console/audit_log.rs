//! The audit log.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use shared::db::audit::AuditFilter;
use shared::model::TenantId;
use uuid::Uuid;

use super::connections::{optional, optional_id};
use super::session::{Rejection, Session};
use super::views::AuditLogView;
use crate::query::{FromQuery, Query, QueryReader};
use crate::routes::ListQuery;
use crate::routes::audit_log::AuditLogEntry;
use crate::routes::audit_log::list::{parse_action, read_page};
use crate::state::AppState;

/// The filter of the list.
#[derive(Debug)]
pub(super) struct LogFilter {
    action: Option<String>,
    tenant: Option<TenantId>,
    target: Option<Uuid>,
    list: ListQuery,
}

impl FromQuery for LogFilter {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            action: optional(
                query,
                "action",
                "an action such as connection.paused",
                parse_action,
            ),
            tenant: optional_id(query, "tenant").map(TenantId),
            target: optional_id(query, "target"),
            list: ListQuery::read(query),
        }
    }
}

/// Shows the log.
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    session: Session,
    Query(filter): Query<LogFilter>,
) -> Result<Response, Rejection> {
    let reach = session.operator().reach(&state, filter.tenant).await?;
    let target = filter.target.map(|id| id.to_string());
    let selected = AuditFilter {
        action: filter.action.clone(),
        target: target.clone(),
        operator: None,
    };
    let page = read_page(&state, reach, &selected, &filter.list.page()?).await?;
    let entries: Vec<_> = page.items.into_iter().map(AuditLogEntry::from).collect();
    let tenant = filter.tenant.map(|id| id.to_string());
    let view = AuditLogView {
        entries: &entries,
        next_cursor: page.next_cursor.as_deref(),
        action: filter.action.as_deref().unwrap_or_default(),
        tenant: tenant.as_deref().unwrap_or_default(),
        target: target.as_deref().unwrap_or_default(),
    };
    Ok(state
        .pages
        .respond_console(session.signed_in(), &view.page()))
}
