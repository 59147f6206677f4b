//! `GET /v1/events`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use shared::db::events::{self, EventFilter};
use shared::model::{ConnectionId, EventId, TenantId};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::auth::{ConnectionsRead, Reach, ReadAuth};
use crate::error::ApiError;
use crate::query::{FromQuery, Query, QueryReader};
use crate::routes::ListQuery;
use crate::state::AppState;

/// The filters of the list; lists are comma-separated.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Types of events.
    #[param(rename = "type", required = false, style = Form, explode = false, min_items = 1, max_items = 100, pattern = "^[a-z][a-z0-9_.]{0,62}$", example = json!(["connection.action_required"]))]
    types: Vec<String>,
    /// The provider's slug.
    #[param(pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")]
    provider: Option<String>,
    /// The connection of the events.
    connection_id: Option<Uuid>,
    /// The tenant of the events; the nil UUID for events of the service, which only operators see.
    tenant_id: Option<Uuid>,
    /// Only events of this time or later.
    since: Option<DateTime<Utc>>,
}

impl FromQuery for (EventsQuery, ListQuery) {
    fn read(query: &mut QueryReader) -> Self {
        let filter = EventsQuery {
            types: query.list("type", "a type of events", |text| {
                is_type(text).then(|| text.to_owned())
            }),
            provider: query.slug("provider"),
            connection_id: query.uuid("connection_id"),
            tenant_id: query.uuid("tenant_id"),
            since: query.date_time("since"),
        };
        (filter, ListQuery::read(query))
    }
}

/// Whether a text has the form of a type; later releases may write types that this one lacks.
fn is_type(text: &str) -> bool {
    let is_allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.')
    };
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(is_allowed)
}

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    id: EventId,
    /// The type: `connection.connected`, `connection.backfilled`, `connection.degraded`,
    /// `connection.action_required`, `connection.recovered`, `connection.disconnected`,
    /// `subscription.expiring`, and for operators `deliveries.rejected`. Later releases may add others.
    #[serde(rename = "type")]
    #[schema(example = "connection.action_required")]
    kind: String,
    /// The tenant; the nil UUID for an event of the service.
    tenant_id: TenantId,
    /// The provider's slug.
    #[schema(example = "github")]
    provider: String,
    /// The connection; null for an event of the service.
    connection_id: Option<ConnectionId>,
    /// The subscription that expires; null for events of other types.
    #[schema(value_type = Option<Uuid>)]
    subscription_id: Option<Uuid>,
    /// The details by type. States of a connection: `health` as in the connection, at that time, and
    /// `previous_state`. `connection.connected`: `resumed`, whether the account was connected before.
    /// `subscription.expiring`: `resource`, `expires_at`. `deliveries.rejected`, for one hour:
    /// `since`, `requests`, `rejected`, `rejected_percent`, `by_result`.
    #[schema(value_type = Object, example = json!({"resumed": false}))]
    data: Value,
    created_at: DateTime<Utc>,
}

impl From<events::Event> for Event {
    fn from(event: events::Event) -> Self {
        Self {
            id: event.id,
            kind: event.event_type,
            tenant_id: event.tenant_id,
            provider: event.provider,
            connection_id: event.connection_id,
            subscription_id: event.subscription_id,
            data: event.data,
            created_at: event.created_at,
        }
    }
}

/// A page of events, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventList {
    events: Vec<Event>,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// List the events
///
/// Changes of connections, each once, for 90 days. An operator without
/// `X-Tenant-Id` lists the events of all tenants and those of the service. A change may be listed a
/// moment after a later one: a reader that must miss none repeats the last minute with `since` and
/// drops the ids that it knows.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    security(("bearer" = ["connections:read"])),
    params(EventsQuery, ListQuery),
    responses((status = 200, body = EventList, description = "A page, newest first"))
)]
pub(crate) async fn list_events(
    State(state): State<Arc<AppState>>,
    auth: ReadAuth<ConnectionsRead>,
    Query((query, list)): Query<(EventsQuery, ListQuery)>,
) -> Result<Json<EventList>, ApiError> {
    let request = list.page()?;
    let tenant = query.tenant_id.map(TenantId);
    let filter = EventFilter {
        types: query.types,
        provider: query.provider,
        connection_id: query.connection_id.map(ConnectionId),
        since: query.since,
    };
    let (tx, page) = match auth.reach {
        Reach::Tenant(scope) => {
            if tenant.is_some_and(|tenant| tenant != scope.tenant_id()) {
                return Err(ApiError::NotFound("tenant"));
            }
            let mut tx = state.db.begin(&scope).await?;
            let page = events::list(&mut tx, &scope, &filter, &request).await?;
            (tx, page)
        }
        Reach::AllTenants(proof) => {
            let mut tx = state.db.begin_for_operator(proof).await?;
            let page = events::list_all(&mut tx, proof, tenant, &filter, &request).await?;
            (tx, page)
        }
    };
    tx.commit().await?;
    Ok(Json(EventList {
        events: page.items.into_iter().map(Event::from).collect(),
        next_cursor: page.next_cursor,
    }))
}
