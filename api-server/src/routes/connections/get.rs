//! `GET /v1/connections/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::db::connections;
use shared::db::cursors::{self, StreamCounts};
use shared::model::ConnectionId;
use utoipa::ToSchema;

use super::{Connection, show};
use crate::auth::{ConnectionsRead, TenantAuth};
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// A connection and the number of its streams.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionDetail {
    #[serde(flatten)]
    connection: Connection,
    /// The number of streams by state; `GET /v1/connections/{id}/streams` lists them.
    #[schema(inline)]
    streams: StreamCounts,
}

/// Get a connection
///
/// With its health, the completeness of its part of the feed, and the number of its streams by state.
#[utoipa::path(
    get,
    path = "/v1/connections/{id}",
    tag = "connections",
    security(("bearer" = ["connections:read"])),
    params(("id" = Uuid, Path, description = "The connection")),
    responses((status = 200, body = ConnectionDetail, description = "The connection"))
)]
pub(crate) async fn get_connection(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<ConnectionsRead>,
    IdPath(id): IdPath<ConnectionId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Json<ConnectionDetail>, ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let found = connections::get(&mut tx, &auth.scope, id)
        .await?
        .ok_or(ApiError::NotFound("connection"))?;
    let connection = show(&mut tx, &state.registry, found).await?;
    let streams = cursors::count_states(&mut tx, &auth.scope, id).await?;
    tx.commit().await?;
    Ok(Json(ConnectionDetail {
        connection,
        streams,
    }))
}
