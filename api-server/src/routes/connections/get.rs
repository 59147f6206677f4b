//! `GET /v1/connections/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use shared::db::connections;
use shared::model::ConnectionId;

use super::Connection;
use crate::auth::{ConnectionsRead, TenantAuth};
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Get a connection
#[utoipa::path(
    get,
    path = "/v1/connections/{id}",
    tag = "connections",
    security(("bearer" = ["connections:read"])),
    params(("id" = Uuid, Path, description = "The connection")),
    responses((status = 200, body = Connection, description = "The connection"))
)]
pub(crate) async fn get_connection(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<ConnectionsRead>,
    IdPath(id): IdPath<ConnectionId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Json<Connection>, ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let found = connections::get(&mut tx, &auth.scope, id).await?;
    tx.commit().await?;
    Ok(Json(found.ok_or(ApiError::NotFound("connection"))?.into()))
}
