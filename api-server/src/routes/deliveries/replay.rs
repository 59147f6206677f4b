//! `POST /v1/webhook-deliveries/{id}/replay`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use shared::db::audit::{self, AuditEntry};
use shared::inbox::{self, ReplayOutcome};
use shared::model::DeliveryId;
use shared::telemetry::current_traceparent;

use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, Conflict};
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::routes::jobs::{self, JobResponse};
use crate::state::AppState;

/// Replay a delivery
///
/// Processes the delivery again. Its Signals keep their identity, so there are no duplicates.
#[utoipa::path(
    post,
    path = "/v1/webhook-deliveries/{id}/replay",
    tag = "webhook-deliveries",
    security(("bearer" = ["jobs:write"])),
    params(("id" = Uuid, Path, description = "The delivery")),
    responses((status = 202, body = JobResponse, description = "The job that processes the delivery"))
)]
pub(crate) async fn replay_delivery(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    IdPath(id): IdPath<DeliveryId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<(StatusCode, Json<JobResponse>), ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let replay = inbox::replay(
        &*state.queue,
        &mut tx,
        &auth.scope,
        id,
        current_traceparent(),
    )
    .await?;
    let queued = match replay {
        ReplayOutcome::NotFound => return Err(ApiError::NotFound("delivery")),
        ReplayOutcome::NotReplayable => return Err(Conflict::DeliveryNotReplayable.into()),
        ReplayOutcome::Queued(job) => job,
    };
    let entry = AuditEntry::new(auth.principal.actor(), "delivery.replayed").target(id);
    audit::record(&mut tx, &auth.scope, &entry).await?;
    let job = jobs::load(&*state.queue, &mut tx, &auth.scope, queued.job_id).await?;
    tx.commit().await?;
    state.notifier.notify();
    Ok((StatusCode::ACCEPTED, Json(JobResponse { job })))
}
