//! `GET /v1/connections`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::db::connections::{self, ConnectionFilter};
use shared::model::ConnectionId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Connection;
use crate::auth::{ConnectionsRead, TenantAuth};
use crate::error::ApiError;
use crate::query::{FromQuery, Query, QueryReader, is_slug, parse_uuid};
use crate::routes::ListQuery;
use crate::state::AppState;

/// The filters of the list; lists are comma-separated.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConnectionsQuery {
    /// Slugs of providers.
    #[param(required = false, style = Form, explode = false, min_items = 1, max_items = 100, pattern = "^[a-z][a-z0-9_]{0,62}$", example = json!(["github"]))]
    provider: Vec<String>,
    /// Ids of connections.
    #[param(required = false, style = Form, explode = false, min_items = 1, max_items = 100)]
    connection_id: Vec<Uuid>,
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
/// Includes disconnected ones, unless `behind` is set.
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
    auth: TenantAuth<ConnectionsRead>,
    Query((query, list)): Query<(ConnectionsQuery, ListQuery)>,
) -> Result<Json<ConnectionList>, ApiError> {
    let request = list.page()?;
    let mut tx = state.db.begin(&auth.scope).await?;
    let filter = ConnectionFilter {
        providers: query.provider,
        ids: query.connection_id.into_iter().map(ConnectionId).collect(),
        is_behind: query.behind,
    };
    let page = connections::list(&mut tx, &auth.scope, &filter, &request).await?;
    tx.commit().await?;
    Ok(Json(ConnectionList {
        connections: page.items.into_iter().map(Connection::from).collect(),
        next_cursor: page.next_cursor,
    }))
}
