//! `POST /v1/jobs/{id}/cancel`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use shared::db::audit::{self, AuditEntry};
use shared::db::jobs::{self, Cancelled};
use shared::ids::JobId;

use super::JobAnswer;
use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, Conflict};
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Cancels a job
///
/// A waiting job is cancelled at once (200). The worker of a running one is asked to stop
/// (202); what it had committed stays.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/cancel",
    tag = "jobs",
    security(("bearer" = ["jobs:write"])),
    params(("id" = Uuid, Path, description = "The job")),
    responses(
        (status = 200, body = JobAnswer, description = "The job, cancelled"),
        (status = 202, body = JobAnswer, description = "The job, asked to stop"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The job has ended")
    )
)]
pub(crate) async fn cancel_job(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    IdPath(id): IdPath<JobId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<(StatusCode, Json<JobAnswer>), ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let status = match jobs::cancel(&mut tx, &auth.scope, id).await? {
        Cancelled::Withdrawn => StatusCode::OK,
        Cancelled::Requested => StatusCode::ACCEPTED,
        Cancelled::Finished => return Err(Conflict::JobFinished.into()),
        Cancelled::Unknown => return Err(ApiError::NotFound("job")),
    };
    let target = id.to_string();
    let entry = AuditEntry::new(auth.principal.actor(), "job.cancelled").target(&target);
    audit::record(&mut tx, &auth.scope, &entry).await?;
    let job = super::load(&mut tx, &auth.scope, id).await?;
    tx.commit().await?;
    Ok((status, Json(JobAnswer { job })))
}
