//! `POST /v1/jobs/{id}/retry`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use shared::db::audit::{self, AuditEntry};
use shared::model::JobId;
use shared::queue::jobs::RetryOutcome;

use super::JobResponse;
use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, Conflict};
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Retry a dead job
///
/// Creates a new job with the same payload and trace; the dead one is kept. If a job of the same
/// window is queued or running, the response is that job.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/retry",
    tag = "jobs",
    security(("bearer" = ["jobs:write"])),
    params(("id" = Uuid, Path, description = "The dead job")),
    responses(
        (status = 202, body = JobResponse, description = "The new job"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The job is not dead, or another release wrote it")
    )
)]
pub(crate) async fn retry_job(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    IdPath(id): IdPath<JobId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<(StatusCode, Json<JobResponse>), ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let enqueued = match state.queue.retry(&mut tx, &auth.scope, id).await? {
        RetryOutcome::Enqueued(enqueued) => enqueued,
        RetryOutcome::NotDead(_) => return Err(Conflict::JobNotDead.into()),
        RetryOutcome::Unreadable => return Err(Conflict::JobUnreadable.into()),
        RetryOutcome::NotFound => return Err(ApiError::NotFound("job")),
    };
    let entry = AuditEntry::new(auth.principal.actor(), "job.retried").target(id);
    audit::record(&mut tx, &auth.scope, &entry).await?;
    let job = super::load(&*state.queue, &mut tx, &auth.scope, enqueued.job_id).await?;
    tx.commit().await?;
    state.notifier.notify();
    Ok((StatusCode::ACCEPTED, Json(JobResponse { job })))
}
