//! `POST /v1/jobs/{id}/cancel`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use shared::db::audit::{self, AuditEntry};
use shared::model::JobId;
use shared::queue::jobs::CancelOutcome;

use super::JobResponse;
use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, Conflict};
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Cancel a job
///
/// A queued job is cancelled immediately (200). A running job is asked to stop (202); its committed
/// pages are kept.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/cancel",
    tag = "jobs",
    security(("bearer" = ["jobs:write"])),
    params(("id" = Uuid, Path, description = "The job")),
    responses(
        (status = 200, body = JobResponse, description = "The cancelled job"),
        (status = 202, body = JobResponse, description = "The running job, which was asked to stop"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The job has already finished")
    )
)]
pub(crate) async fn cancel_job(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    IdPath(id): IdPath<JobId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<(StatusCode, Json<JobResponse>), ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let status = match state.queue.cancel(&mut tx, &auth.scope, id).await? {
        CancelOutcome::Cancelled => StatusCode::OK,
        CancelOutcome::Requested => StatusCode::ACCEPTED,
        CancelOutcome::Finished => return Err(Conflict::JobFinished.into()),
        CancelOutcome::NotFound => return Err(ApiError::NotFound("job")),
    };
    let entry = AuditEntry::new(auth.principal.actor(), "job.cancelled").target(id);
    audit::record(&mut tx, &auth.scope, &entry).await?;
    let job = super::load(&*state.queue, &mut tx, &auth.scope, id).await?;
    tx.commit().await?;
    Ok((status, Json(JobResponse { job })))
}
