//! The Signals of a tenant, and one of them with its lineage.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use shared::db::TenantScope;
use shared::db::lineage::{self, LinkedDelivery, LinkedJob, LinkedSignal};
use shared::db::page::DEFAULT_LIMIT;
use shared::model::{ConnectionId, SignalId, SignalKind, TenantId};
use strum::VariantArray;

use super::connections::{newest_signals, optional, optional_id, tenant_name};
use super::deliveries::tenant_options;
use super::session::{Rejection, Session};
use super::views::{LineageView, SignalsView};
use crate::auth::{AuditReason, SignalsRead};
use crate::error::ApiError;
use crate::extract::{IdPath, IdPaths};
use crate::query::{FromQuery, NoQuery, Query, QueryReader};
use crate::routes::signals::SignalFilter;
use crate::routes::signals::get::{SignalQuery, get_signal};
use crate::routes::signals::list::list_signals;
use crate::state::AppState;

/// The filter of the list.
#[derive(Debug)]
pub(super) struct SignalsFilter {
    tenant: Option<TenantId>,
    connection: Option<ConnectionId>,
    kind: Option<SignalKind>,
    cursor: Option<String>,
}

impl FromQuery for SignalsFilter {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            tenant: optional_id(query, "tenant").map(TenantId),
            connection: optional_id(query, "connection").map(ConnectionId),
            kind: optional(query, "kind", "a kind of Signal", |text| text.parse().ok()),
            cursor: query.feed_cursor(),
        }
    }
}

/// Shows the list.
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    session: Session,
    Query(filter): Query<SignalsFilter>,
) -> Result<Response, Rejection> {
    let tenants = tenant_options(&state, session.stored.proof).await?;
    let kinds: Vec<&str> = SignalKind::VARIANTS
        .iter()
        .map(|kind| kind.as_str())
        .collect();
    let connection = filter.connection.map(|id| id.to_string());
    let mut view = SignalsView {
        tenant: None,
        signals: &[],
        next_cursor: None,
        kind: filter.kind.map(SignalKind::as_str).unwrap_or_default(),
        connection: connection.as_deref().unwrap_or_default(),
        tenants: &tenants,
        kinds: &kinds,
    };
    let Some(tenant) = filter.tenant else {
        let signed_in = session.signed_in();
        return Ok(state.pages.respond_console(signed_in, &view.page()));
    };
    let auth = session.tenant::<SignalsRead>(&state, tenant).await?;
    let name = tenant_name(&state, &auth.scope).await?;
    let selected = SignalFilter {
        source: Vec::new(),
        kind: filter.kind.into_iter().collect(),
        connection_id: filter.connection.into_iter().map(|id| id.0).collect(),
        include: None,
    };
    let query = Query((newest_signals(filter.cursor, DEFAULT_LIMIT), selected));
    let found = list_signals(State(Arc::clone(&state)), auth, query, AuditReason(None))
        .await?
        .0;
    view.tenant = Some((tenant, &name));
    view.signals = &found.signals;
    view.next_cursor = found.next_cursor.as_deref();
    Ok(state
        .pages
        .respond_console(session.signed_in(), &view.page()))
}

/// Shows one Signal with its lineage.
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    session: Session,
    IdPaths(tenant, id): IdPaths<TenantId, SignalId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Response, Rejection> {
    let operator = session.in_tenant(&state, tenant).await?;
    let auth = operator.auth::<SignalsRead>()?;
    let query = Query(SignalQuery { include: None });
    let reason = AuditReason(None);
    let signal = get_signal(State(Arc::clone(&state)), auth, IdPath(id), query, reason)
        .await?
        .0;
    let (deliveries, jobs) = origin(&state, &session, operator.scope, id).await?;
    let signals = [LinkedSignal {
        id,
        kind: signal.kind.as_str().to_owned(),
        dedupe_key: signal.dedupe_key.clone(),
    }];
    let view = LineageView {
        tenant,
        deliveries: &deliveries,
        jobs: &jobs,
        signals: &signals,
    };
    Ok(state
        .pages
        .respond_console(session.signed_in(), &view.signal_page(&signal)))
}

/// The deliveries of a Signal and the jobs that processed them.
async fn origin(
    state: &AppState,
    session: &Session,
    scope: TenantScope,
    id: SignalId,
) -> Result<(Vec<LinkedDelivery>, Vec<LinkedJob>), ApiError> {
    let mut tx = state.db.begin_for_operator(session.stored.proof).await?;
    let deliveries = lineage::deliveries_of_signal(&mut tx, &scope, id).await?;
    let mut jobs: Vec<LinkedJob> = Vec::new();
    for delivery in &deliveries {
        let received_at = delivery.received_at;
        let found = lineage::jobs_of_delivery(&mut tx, &scope, delivery.id, received_at);
        jobs.extend(found.await?);
    }
    tx.commit().await?;
    jobs.sort_unstable_by_key(|job| job.id);
    jobs.dedup_by_key(|job| job.id);
    Ok((deliveries, jobs))
}
