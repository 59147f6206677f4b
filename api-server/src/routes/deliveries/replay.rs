//! `POST /v1/webhook-deliveries/{id}/replay`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use shared::db::audit::{self, AuditEntry};
use shared::db::deliveries::{self, Replay};
use shared::ids::DeliveryId;
use shared::telemetry::current_traceparent;

use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, Conflict};
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::routes::jobs::{self, JobAnswer};
use crate::state::AppState;

/// Processes a delivery again
///
/// Its Signals have the same identity as before, so nothing is made twice.
#[utoipa::path(
    post,
    path = "/v1/webhook-deliveries/{id}/replay",
    tag = "webhook-deliveries",
    security(("bearer" = ["jobs:write"])),
    params(("id" = Uuid, Path, description = "The delivery")),
    responses((status = 202, body = JobAnswer, description = "The job that does it"))
)]
pub(crate) async fn replay_delivery(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    IdPath(id): IdPath<DeliveryId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<(StatusCode, Json<JobAnswer>), ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let replay = deliveries::replay(&mut tx, &auth.scope, id, current_traceparent()).await?;
    let queued = match replay {
        Replay::NotFound => return Err(ApiError::NotFound("delivery")),
        Replay::NotReplayable => return Err(Conflict::DeliveryNotReplayable.into()),
        Replay::Queued(job) => job,
    };
    let target = id.to_string();
    let entry = AuditEntry::new(auth.principal.actor(), "delivery.replayed").target(&target);
    audit::record(&mut tx, &auth.scope, &entry).await?;
    let job = jobs::load(&mut tx, &auth.scope, queued.job_id).await?;
    tx.commit().await?;
    state.waker.wake();
    Ok((StatusCode::ACCEPTED, Json(JobAnswer { job })))
}
