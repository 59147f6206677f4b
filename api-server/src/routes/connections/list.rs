//! `GET /v1/connections`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::db::connections::{self, ConnectionFilter, ConnectionStatus};
use shared::health::HealthState;
use shared::model::ConnectionId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Connection, show_all};
use crate::auth::{ConnectionsRead, Reach, ReadAuth};
use crate::error::ApiError;
use crate::query::{FromQuery, Query, QueryReader, is_slug, parse_uuid};
use crate::routes::ListQuery;
use crate::state::AppState;

/// The filters of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConnectionsQuery {
    /// Slugs of providers.
    #[param(required = false, style = Form, explode = false, min_items = 1, max_items = 100, pattern = "^[a-z][a-z0-9_]{0,62}$")]
    provider: Vec<String>,
    /// Ids of connections.
    #[param(required = false, style = Form, explode = false, min_items = 1, max_items = 100)]
    connection_id: Vec<Uuid>,
    /// States of health.
    #[param(required = false, style = Form, explode = false, min_items = 1, max_items = 6, inline)]
    health: Vec<HealthState>,
    /// Statuses.
    #[param(required = false, style = Form, explode = false, min_items = 1, max_items = 6, inline)]
    status: Vec<ConnectionStatus>,
    /// `true`: only connections whose completeness does not advance; the feed counts them.
    /// `false`: only the others. Both exclude disconnected connections.
    behind: Option<bool>,
}

impl FromQuery for (ConnectionsQuery, ListQuery) {
    fn read(query: &mut QueryReader) -> Self {
        (
            ConnectionsQuery {
                provider: query.list("provider", "a provider's slug", |text| {
                    is_slug(text).then(|| text.to_owned())
                }),
                connection_id: query.list("connection_id", "a UUID", parse_uuid),
                health: query.list("health", "a state of health", |text| text.parse().ok()),
                status: query.list("status", "a status", |text| text.parse().ok()),
                behind: query.enum_value("behind"),
            },
            ListQuery::read(query),
        )
    }
}

/// A page of connections, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionList {
    connections: Vec<Connection>,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// List the connections
///
/// Includes disconnected ones, unless `behind` is set. An operator without `X-Tenant-Id` lists the
/// connections of all tenants.
#[utoipa::path(
    get,
    path = "/v1/connections",
    tag = "connections",
    security(("bearer" = ["connections:read"])),
    params(ConnectionsQuery, ListQuery),
    responses((status = 200, body = ConnectionList, description = "A page, newest first"))
)]
pub(crate) async fn list_connections(
    State(state): State<Arc<AppState>>,
    auth: ReadAuth<ConnectionsRead>,
    Query((query, list)): Query<(ConnectionsQuery, ListQuery)>,
) -> Result<Json<ConnectionList>, ApiError> {
    let request = list.page()?;
    let filter = ConnectionFilter {
        providers: query.provider,
        ids: query.connection_id.into_iter().map(ConnectionId).collect(),
        health: query.health,
        statuses: query.status,
        is_behind: query.behind,
    };
    let (mut tx, page) = match auth.reach {
        Reach::Tenant(scope) => {
            let mut tx = state.db.begin(&scope).await?;
            let page = connections::list(&mut tx, &scope, &filter, &request).await?;
            (tx, page)
        }
        Reach::AllTenants(proof) => {
            let mut tx = state.db.begin_for_operator(proof).await?;
            let page = connections::list_all(&mut tx, proof, &filter, &request).await?;
            (tx, page)
        }
    };
    let connections = show_all(&mut tx, &state.registry, page.items).await?;
    tx.commit().await?;
    Ok(Json(ConnectionList {
        connections,
        next_cursor: page.next_cursor,
    }))
}
