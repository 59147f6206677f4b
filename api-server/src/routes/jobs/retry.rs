//! `POST /v1/jobs/{id}/retry`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use shared::db::audit::{self, AuditEntry};
use shared::db::jobs::{self, Retried};
use shared::ids::JobId;

use super::JobAnswer;
use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, Conflict};
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Retries a dead job
///
/// Makes a new job of the same work, in the same trace; the dead one is kept. If a job of
/// the same window waits or runs already, that one is the answer.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/retry",
    tag = "jobs",
    security(("bearer" = ["jobs:write"])),
    params(("id" = Uuid, Path, description = "The dead job")),
    responses(
        (status = 202, body = JobAnswer, description = "The job that does the work"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The job is not dead, or another release has written it")
    )
)]
pub(crate) async fn retry_job(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    IdPath(id): IdPath<JobId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<(StatusCode, Json<JobAnswer>), ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let enqueued = match jobs::retry(&mut tx, &auth.scope, id).await? {
        Retried::Enqueued(enqueued) => enqueued,
        Retried::NotDead(_) => return Err(Conflict::JobNotDead.into()),
        Retried::Unreadable => return Err(Conflict::JobUnreadable.into()),
        Retried::Unknown => return Err(ApiError::NotFound("job")),
    };
    let target = id.to_string();
    let entry = AuditEntry::new(auth.principal.actor(), "job.retried").target(&target);
    audit::record(&mut tx, &auth.scope, &entry).await?;
    let job = super::load(&mut tx, &auth.scope, enqueued.job_id).await?;
    tx.commit().await?;
    state.waker.wake();
    Ok((StatusCode::ACCEPTED, Json(JobAnswer { job })))
}
