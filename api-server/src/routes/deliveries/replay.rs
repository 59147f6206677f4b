//! `POST /v1/webhook-deliveries/{id}/replay`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use shared::db::audit::{self, AuditEntry};
use shared::inbox::{self, ReplayOutcome};
use shared::model::DeliveryId;
use shared::telemetry::current_traceparent;

use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, Conflict};
use crate::extract::IdPath;
use crate::idempotency::Idempotency;
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
    idempotency: Idempotency,
) -> Result<Response, ApiError> {
    let (scope, principal) = (&auth.scope, &auth.principal);
    let mut tx = state.db.begin(scope).await?;
    if let Some(response) = idempotency.replay(&mut tx, scope, principal).await? {
        return Ok(response);
    }
    let replay = inbox::replay(&*state.queue, &mut tx, scope, id, current_traceparent()).await?;
    let queued = match replay {
        ReplayOutcome::NotFound => return Err(ApiError::NotFound("delivery")),
        ReplayOutcome::NotReplayable => return Err(Conflict::DeliveryNotReplayable.into()),
        ReplayOutcome::Queued(job) => job,
    };
    let entry = AuditEntry::new(principal.actor(), "delivery.replayed").target(id);
    audit::record(&mut tx, scope, &entry).await?;
    let job = jobs::load(&*state.queue, &mut tx, scope, queued.job_id).await?;
    let (status, response) = (StatusCode::ACCEPTED, JobResponse { job });
    idempotency
        .keep(&mut tx, scope, principal, (status, &response))
        .await?;
    tx.commit().await?;
    state.notifier.notify();
    Ok((status, Json(response)).into_response())
}
