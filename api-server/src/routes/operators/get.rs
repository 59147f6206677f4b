//! `GET /v1/operators/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use shared::db::operators;
use shared::model::OperatorId;

use super::Operator;
use crate::auth::OperatorAuth;
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Get an operator
#[utoipa::path(
    get,
    path = "/v1/operators/{id}",
    tag = "operators",
    security(("bearer" = ["operator"])),
    params(("id" = Uuid, Path, description = "The operator")),
    responses(
        (status = 200, body = Operator, description = "The operator"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Operator not found")
    )
)]
pub(crate) async fn get_operator(
    State(state): State<Arc<AppState>>,
    OperatorAuth(proof): OperatorAuth,
    IdPath(id): IdPath<OperatorId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Json<Operator>, ApiError> {
    let mut tx = state.db.begin(&proof.unassigned()).await?;
    let found = operators::get(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(found.ok_or(ApiError::NotFound("operator"))?.into()))
}
