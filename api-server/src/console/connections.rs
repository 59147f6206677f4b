//! The list of connections, and one of them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use shared::db::audit::AuditFilter;
use shared::db::connections::{ConnectionFilter, ConnectionStatus};
use shared::db::cursors::StreamState;
use shared::db::page::PageRequest;
use shared::db::{OperatorProof, TenantScope, tenants};
use shared::health::HealthState;
use shared::model::{ConnectionId, TenantId};
use uuid::Uuid;

use super::session::{Rejection, Session};
use super::views::{ConnectionRow, ConnectionView, ConnectionsView, JobRow, Notice};
use crate::auth::{ConnectionsRead, Reach, TenantOperator};
use crate::error::ApiError;
use crate::extract::{IdPath, IdPaths};
use crate::query::{FromQuery, NoQuery, Query, QueryReader, is_slug, parse_uuid};
use crate::routes::ListQuery;
use crate::routes::connections::get::get_connection;
use crate::routes::connections::list::read_page;
use crate::routes::connections::streams::{Stream, StreamsQuery, list_connection_streams};
use crate::routes::deliveries::Delivery;
use crate::routes::deliveries::list::{DeliveriesQuery, list_deliveries};
use crate::routes::jobs::list::{JobsQuery, list_jobs};
use crate::routes::signals::SignalFilter;
use crate::routes::signals::list::{Order, SignalsQuery, list_signals};
use crate::routes::{audit_log, connections};
use crate::state::AppState;

/// The number of rows of each part of a connection's page.
const PART_ROWS: u32 = 10;

/// The filter of the list. A field that is left empty in the form counts as absent.
#[derive(Debug)]
pub(super) struct ListFilter {
    provider: Option<String>,
    status: Option<ConnectionStatus>,
    health: Option<HealthState>,
    tenant: Option<TenantId>,
    list: ListQuery,
}

impl FromQuery for ListFilter {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            provider: optional(query, "provider", "a provider's slug", |text| {
                is_slug(text).then(|| text.to_owned())
            }),
            status: optional(query, "status", "a status", |text| text.parse().ok()),
            health: optional(query, "health", "a state of health", |text| {
                text.parse().ok()
            }),
            tenant: optional_id(query, "tenant").map(TenantId),
            list: ListQuery::read(query),
        }
    }
}

/// Reads an id of a form with GET.
pub(super) fn optional_id(query: &mut QueryReader, name: &str) -> Option<Uuid> {
    optional(query, name, "a UUID", parse_uuid)
}

/// Reads a value of a form with GET, which sends empty fields as well.
pub(super) fn optional<T>(
    query: &mut QueryReader,
    name: &str,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let parse = |text: &str| {
        if text.trim().is_empty() {
            return Some(None);
        }
        parse(text.trim()).map(Some)
    };
    query.value(name, expected, parse).flatten()
}

/// Shows the list.
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    session: Session,
    Query(filter): Query<ListFilter>,
) -> Result<Response, Rejection> {
    let operator = session.operator();
    let reach = operator.reach(&state, filter.tenant).await?;
    let selected = ConnectionFilter {
        providers: filter.provider.clone().into_iter().collect(),
        statuses: filter.status.into_iter().collect(),
        health: filter.health.into_iter().collect(),
        ..ConnectionFilter::default()
    };
    let request = filter.list.page()?;
    let (found, next_cursor) = read_page(&state, reach, &selected, &request).await?;
    let rows = named(&state, operator.proof, found).await?;
    let providers: Vec<&str> = state.registry.iter().map(|(one, _)| one.slug).collect();
    let tenant = filter.tenant.map(|id| id.to_string());
    let view = ConnectionsView {
        rows: &rows,
        next_cursor: next_cursor.as_deref(),
        providers: &providers,
        provider: filter.provider.as_deref().unwrap_or_default(),
        status: filter.status.map(<&str>::from).unwrap_or_default(),
        health: filter.health.map(HealthState::as_str).unwrap_or_default(),
        tenant: tenant.as_deref().unwrap_or_default(),
    };
    Ok(state
        .pages
        .respond_console(session.signed_in(), &view.page()))
}

/// Adds the names of tenants to connections.
async fn named(
    state: &AppState,
    proof: OperatorProof,
    found: Vec<connections::Connection>,
) -> Result<Vec<ConnectionRow>, ApiError> {
    let mut tx = state.db.begin_for_operator(proof).await?;
    let ids = found.iter().map(|connection| connection.tenant_id);
    let names = tenants::names(&mut tx, proof, ids).await?;
    tx.commit().await?;
    let rows = found.into_iter().map(|connection| ConnectionRow {
        tenant: names
            .get(&connection.tenant_id)
            .cloned()
            .unwrap_or_default(),
        connection,
    });
    Ok(rows.collect())
}

/// The outcome of the form before.
#[derive(Debug)]
pub(super) struct NoticeQuery(pub(super) Option<Notice>);

impl FromQuery for NoticeQuery {
    fn read(query: &mut QueryReader) -> Self {
        Self(query.enum_value("done"))
    }
}

/// Shows one connection.
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    session: Session,
    IdPaths(tenant, id): IdPaths<TenantId, ConnectionId>,
    Query(NoticeQuery(notice)): Query<NoticeQuery>,
) -> Result<Response, Rejection> {
    let operator = session.in_tenant(&state, tenant).await?;
    let auth = operator.auth::<ConnectionsRead>()?;
    let name = tenant_name(&state, &operator.scope).await?;
    let detail = get_connection(State(Arc::clone(&state)), auth, IdPath(id), Query(NoQuery))
        .await?
        .0;
    let jobs: Vec<JobRow> = recent_jobs(&state, operator, id).await?;
    let deliveries = recent_deliveries(&state, operator, id).await?;
    let signals = recent_signals(&state, operator, id).await?;
    let changes = changes(&state, operator, id).await?;
    let view = ConnectionView {
        operator: session.signed_in(),
        streams: &first_streams(&state, operator, id).await?,
        detail: &detail,
        tenant: &name,
        jobs: &jobs,
        deliveries: &deliveries,
        signals: &signals,
        changes: &changes,
        notice,
    };
    Ok(state
        .pages
        .respond_console(session.signed_in(), &view.page()))
}

/// The name of a tenant.
pub(super) async fn tenant_name(state: &AppState, scope: &TenantScope) -> Result<String, ApiError> {
    let mut tx = state.db.begin(scope).await?;
    let name = tenants::name(&mut tx, scope).await?;
    tx.commit().await?;
    Ok(name.unwrap_or_else(|| "no tenant".to_owned()))
}

fn part() -> ListQuery {
    ListQuery {
        cursor: None,
        limit: Some(PART_ROWS),
    }
}

/// The first streams that cannot be read, or the first of all.
async fn first_streams(
    state: &Arc<AppState>,
    operator: TenantOperator,
    id: ConnectionId,
) -> Result<Vec<Stream>, ApiError> {
    let unreadable = vec![
        StreamState::Denied,
        StreamState::Failing,
        StreamState::Limited,
    ];
    for states in [unreadable, Vec::new()] {
        let query = StreamsQuery {
            state: states,
            cursor: None,
            limit: Some(PART_ROWS),
        };
        let auth = operator.auth()?;
        let found =
            list_connection_streams(State(Arc::clone(state)), auth, IdPath(id), Query(query))
                .await?
                .0;
        if !found.streams.is_empty() {
            return Ok(found.streams);
        }
    }
    Ok(Vec::new())
}

async fn recent_jobs(
    state: &Arc<AppState>,
    operator: TenantOperator,
    id: ConnectionId,
) -> Result<Vec<JobRow>, ApiError> {
    let query = JobsQuery {
        state: None,
        kind: None,
        connection_id: Some(id.0),
        provider: None,
    };
    let auth = operator.auth()?;
    let found = list_jobs(State(Arc::clone(state)), auth, Query((query, part())))
        .await?
        .0;
    let tenant = operator.scope.tenant_id();
    let rows = found.jobs.into_iter().map(|job| JobRow { tenant, job });
    Ok(rows.collect())
}

async fn recent_deliveries(
    state: &Arc<AppState>,
    operator: TenantOperator,
    id: ConnectionId,
) -> Result<Vec<Delivery>, ApiError> {
    let query = DeliveriesQuery {
        provider: None,
        outcome: None,
        connection_id: Some(id.0),
    };
    let auth = operator.auth()?;
    let found = list_deliveries(State(Arc::clone(state)), auth, Query((query, part())))
        .await?
        .0;
    Ok(found.deliveries)
}

async fn recent_signals(
    state: &Arc<AppState>,
    operator: TenantOperator,
    id: ConnectionId,
) -> Result<Vec<shared::signals::Signal>, ApiError> {
    let filter = SignalFilter {
        source: Vec::new(),
        kind: Vec::new(),
        connection_id: vec![id.0],
        include: None,
    };
    let auth = operator.auth()?;
    let query = Query((newest_signals(None, PART_ROWS), filter));
    let reason = crate::auth::AuditReason(None);
    let found = list_signals(State(Arc::clone(state)), auth, query, reason)
        .await?
        .0;
    Ok(found.signals)
}

/// A page of Signals, newest first.
pub(super) fn newest_signals(cursor: Option<String>, limit: u32) -> SignalsQuery {
    SignalsQuery {
        cursor,
        limit: Some(limit),
        order: Some(Order::Recent),
        since: None,
        until: None,
    }
}

async fn changes(
    state: &AppState,
    operator: TenantOperator,
    id: ConnectionId,
) -> Result<Vec<audit_log::AuditLogEntry>, ApiError> {
    let filter = AuditFilter {
        target: Some(id.to_string()),
        ..AuditFilter::default()
    };
    let reach = Reach::Tenant(operator.scope);
    let request = PageRequest::parse(None, Some(PART_ROWS))?;
    let page = audit_log::list::read_page(state, reach, &filter, &request).await?;
    let entries = page.items.into_iter();
    Ok(entries.map(audit_log::AuditLogEntry::from).collect())
}
