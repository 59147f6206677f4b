//! `POST /v1/jobs/{id}/retry`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use shared::db::audit::{self, AuditEntry};
use shared::model::JobId;
use shared::queue::jobs::RetryOutcome;

use super::JobResponse;
use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, Conflict};
use crate::extract::IdPath;
use crate::idempotency::Idempotency;
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
    idempotency: Idempotency,
) -> Result<Response, ApiError> {
    let (scope, principal) = (&auth.scope, &auth.principal);
    let mut tx = state.db.begin(scope).await?;
    if let Some(response) = idempotency.replay(&mut tx, scope, principal).await? {
        return Ok(response);
    }
    let enqueued = match state.queue.retry(&mut tx, scope, id).await? {
        RetryOutcome::Enqueued(enqueued) => enqueued,
        RetryOutcome::NotDead(_) => return Err(Conflict::JobNotDead.into()),
        RetryOutcome::Unreadable => return Err(Conflict::JobUnreadable.into()),
        RetryOutcome::NotFound => return Err(ApiError::NotFound("job")),
    };
    let entry = AuditEntry::new(principal.actor(), "job.retried").target(id);
    audit::record(&mut tx, scope, &entry).await?;
    let job = super::load(&*state.queue, &mut tx, scope, enqueued.job_id).await?;
    let (status, response) = (StatusCode::ACCEPTED, JobResponse { job });
    idempotency
        .keep(&mut tx, scope, principal, (status, &response))
        .await?;
    tx.commit().await?;
    state.notifier.notify();
    Ok((status, Json(response)).into_response())
}
