//! `GET /v1/connections`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::db::connections;
use utoipa::{IntoParams, ToSchema};

use super::Connection;
use crate::auth::{ConnectionsRead, TenantAuth};
use crate::error::ApiError;
use crate::query::{FromQuery, Query, QueryReader};
use crate::routes::ListQuery;
use crate::state::AppState;

/// Which connections are wanted.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConnectionsQuery {
    /// The provider's slug.
    #[param(pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")]
    provider: Option<String>,
}

impl FromQuery for (ConnectionsQuery, ListQuery) {
    fn read(query: &mut QueryReader) -> Self {
        (
            ConnectionsQuery {
                provider: query.slug("provider"),
            },
            ListQuery::read(query),
        )
    }
}

/// A page of connections, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionList {
    connections: Vec<Connection>,
    /// Where the next page starts; null at the end.
    next_cursor: Option<String>,
}

/// Lists the connections
///
/// Disconnected ones included.
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
    let page = connections::list(&mut tx, &auth.scope, query.provider.as_deref(), &request).await?;
    tx.commit().await?;
    Ok(Json(ConnectionList {
        connections: page.items.into_iter().map(Connection::from).collect(),
        next_cursor: page.next_cursor,
    }))
}
