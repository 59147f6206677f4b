//! `GET /v1/jobs/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use shared::model::JobId;

use super::Job;
use crate::auth::{JobsRead, TenantAuth};
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Get a job
///
/// With its attempts so far and the error of the last one. A finished job is found until its
/// retention ends.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    tag = "jobs",
    security(("bearer" = ["jobs:read"])),
    params(("id" = Uuid, Path, description = "The job")),
    responses((status = 200, body = Job, description = "The job"))
)]
pub(crate) async fn get_job(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsRead>,
    IdPath(id): IdPath<JobId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Json<Job>, ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let job = super::load(&*state.queue, &mut tx, &auth.scope, id).await?;
    tx.commit().await?;
    Ok(Json(job))
}
