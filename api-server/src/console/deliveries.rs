//! The list of deliveries, one of them, and its forms.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared::db::deliveries::DeliveryOutcome;
use shared::db::lineage::{self, LinkedDelivery, LinkedJob, LinkedSignal, Origin};
use shared::db::page::MAX_LIMIT;
use shared::db::page::PageRequest;
use shared::db::tenants;
use shared::db::{OperatorProof, TenantScope};
use shared::model::{ConnectionId, DeliveryId, TenantId};

use super::connections::{NoticeQuery, optional, optional_id, tenant_name};
use super::session::{Form, Rejection, Session, redirect};
use super::views::{DeliveriesView, DeliveryView, LineageView, Notice};
use crate::auth::{AuditReason, DeliveriesRead};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{IdPath, IdPaths};
use crate::query::{FromQuery, NoQuery, Query, QueryReader};
use crate::routes::ListQuery;
use crate::routes::deliveries::Delivery;
use crate::routes::deliveries::get::get_delivery;
use crate::routes::deliveries::list::{DeliveriesQuery, list_deliveries};
use crate::routes::deliveries::replay::replay_delivery;
use crate::state::AppState;

/// The filter of the list.
#[derive(Debug)]
pub(super) struct DeliveriesFilter {
    tenant: Option<TenantId>,
    connection: Option<ConnectionId>,
    outcome: Option<DeliveryOutcome>,
    list: ListQuery,
}

impl FromQuery for DeliveriesFilter {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            tenant: optional_id(query, "tenant").map(TenantId),
            connection: optional_id(query, "connection").map(ConnectionId),
            outcome: optional(query, "outcome", "an outcome", |text| text.parse().ok()),
            list: ListQuery::read(query),
        }
    }
}

/// The newest tenants for a select: their ids and names.
pub(super) async fn tenant_options(
    state: &AppState,
    proof: OperatorProof,
) -> Result<Vec<(String, String)>, ApiError> {
    let request = PageRequest::parse(None, Some(MAX_LIMIT))?;
    let page = tenants::list(&state.db, proof, &request).await?;
    let options = page.items.into_iter();
    Ok(options
        .map(|tenant| (tenant.id.to_string(), tenant.name))
        .collect())
}

/// Shows the list.
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    session: Session,
    Query(filter): Query<DeliveriesFilter>,
) -> Result<Response, Rejection> {
    let mut tenants = tenant_options(&state, session.stored.proof).await?;
    let nil = TenantId::UNASSIGNED.to_string();
    tenants.insert(0, (nil, "no tenant: match no connection".to_owned()));
    let connection = filter.connection.map(|id| id.to_string());
    let mut view = DeliveriesView {
        tenant: None,
        deliveries: &[],
        next_cursor: None,
        outcome: filter.outcome.map(<&str>::from).unwrap_or_default(),
        connection: connection.as_deref().unwrap_or_default(),
        tenants: &tenants,
    };
    let Some(tenant) = filter.tenant else {
        let signed_in = session.signed_in();
        return Ok(state.pages.respond_console(signed_in, &view.page()));
    };
    let auth = session.tenant::<DeliveriesRead>(&state, tenant).await?;
    let name = tenant_name(&state, &auth.scope).await?;
    let query = DeliveriesQuery {
        provider: None,
        outcome: filter.outcome,
        connection_id: filter.connection.map(|id| id.0),
    };
    let query = Query((query, filter.list));
    let found = list_deliveries(State(Arc::clone(&state)), auth, query)
        .await?
        .0;
    view.tenant = Some((tenant, &name));
    view.deliveries = &found.deliveries;
    view.next_cursor = found.next_cursor.as_deref();
    Ok(state
        .pages
        .respond_console(session.signed_in(), &view.page()))
}

/// Shows one delivery without its body.
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    session: Session,
    IdPaths(tenant, id): IdPaths<TenantId, DeliveryId>,
    Query(NoticeQuery(notice)): Query<NoticeQuery>,
) -> Result<Response, Rejection> {
    let page = Shown {
        tenant,
        id,
        reason: None,
        notice,
    };
    page.respond(&state, &session).await
}

/// Shows one delivery with its body; the audit log records the reason.
pub(super) async fn show_body(
    State(state): State<Arc<AppState>>,
    IdPaths(tenant, id): IdPaths<TenantId, DeliveryId>,
    form: Form,
) -> Result<Response, Rejection> {
    let reason = form.only("reason").and_then(AuditReason::parse);
    let reason = reason.ok_or_else(|| {
        let expected = "must have 3 to 500 characters";
        ApiError::Fields(vec![FieldProblem::new("reason", expected)])
    })?;
    let page = Shown {
        tenant,
        id,
        reason: Some(reason),
        notice: None,
    };
    page.respond(&state, &form.session).await
}

/// Processes the delivery again.
pub(super) async fn replay(
    State(state): State<Arc<AppState>>,
    IdPaths(tenant, id): IdPaths<TenantId, DeliveryId>,
    form: Form,
) -> Result<Response, Rejection> {
    let auth = form.session.tenant(&state, tenant).await?;
    let (_, Json(_job)) = replay_delivery(State(state), auth, IdPath(id), Query(NoQuery)).await?;
    let done: &str = Notice::DeliveryReplayed.into();
    Ok(redirect(&format!(
        "/console/deliveries/{tenant}/{id}?done={done}"
    )))
}

/// The page of one delivery.
struct Shown {
    tenant: TenantId,
    id: DeliveryId,
    /// The reason to show the body.
    reason: Option<String>,
    notice: Option<Notice>,
}

impl Shown {
    async fn respond(
        self,
        state: &Arc<AppState>,
        session: &Session,
    ) -> Result<Response, Rejection> {
        let operator = session.in_tenant(state, self.tenant).await?;
        let auth = operator.auth::<DeliveriesRead>()?;
        let reason = AuditReason(self.reason.clone());
        let (id, query) = (IdPath(self.id), Query(NoQuery));
        let detail = get_delivery(State(Arc::clone(state)), auth, id, query, reason)
            .await?
            .0;
        let (jobs, signals) = lineage(state, session, operator.scope, &detail.delivery).await?;
        let body = detail.body_base64.as_deref().map(readable);
        let deliveries = [LinkedDelivery {
            id: detail.delivery.id,
            event: detail.delivery.event.clone(),
            outcome: detail.delivery.outcome,
            received_at: detail.delivery.received_at,
        }];
        let view = DeliveryView {
            operator: session.signed_in(),
            tenant: self.tenant,
            detail: &detail,
            body: body.as_deref(),
            lineage: LineageView {
                tenant: self.tenant,
                deliveries: &deliveries,
                jobs: &jobs,
                signals: &signals,
            },
            notice: self.notice,
        };
        let signed_in = session.signed_in();
        Ok(state.pages.respond_console(signed_in, &view.page()))
    }
}

/// The jobs that processed a delivery, and its Signals.
async fn lineage(
    state: &AppState,
    session: &Session,
    scope: TenantScope,
    delivery: &Delivery,
) -> Result<(Vec<LinkedJob>, Vec<LinkedSignal>), ApiError> {
    let origin = Origin {
        delivery: delivery.id,
        connection: delivery.connection_id,
        received_at: delivery.received_at,
        processed_at: delivery.processed_at,
    };
    let mut tx = state.db.begin_for_operator(session.stored.proof).await?;
    let received = delivery.received_at;
    let jobs = lineage::jobs_of_delivery(&mut tx, &scope, delivery.id, received).await?;
    let signals = lineage::signals_of_delivery(&mut tx, &scope, &origin).await?;
    tx.commit().await?;
    Ok((jobs, signals))
}

/// The body as text: indented if it is JSON.
fn readable(base64: &str) -> String {
    let bytes = STANDARD.decode(base64).unwrap_or_default();
    let json: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    json.and_then(|json| serde_json::to_string_pretty(&json).ok())
        .unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_shown_as_text() {
        let shown = |bytes: &[u8]| readable(&STANDARD.encode(bytes));
        assert_eq!(shown(b"{\"a\":1}"), "{\n  \"a\": 1\n}");
        assert_eq!(shown(b"payload=%7B"), "payload=%7B");
        assert_eq!(shown(b"\xff"), "\u{fffd}");
    }
}
