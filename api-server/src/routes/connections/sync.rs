//! `POST /v1/connections/{id}/sync`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::db::connections;
use shared::model::{ConnectionId, SyncMode};
use utoipa::ToSchema;

use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{IdPath, OptionalJsonBody, Validate};
use crate::idempotency::Idempotency;
use crate::query::{NoQuery, Query};
use crate::routes::jobs::{self, JobResponse};
use crate::routes::sync::enqueue_sync;
use crate::state::AppState;

/// The settings of the sync.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncRequest {
    /// `incremental` (the default) continues from the cursors; `full` reads the past again, which
    /// creates no duplicate Signals.
    #[schema(inline)]
    mode: Option<SyncMode>,
}

impl SyncRequest {
    pub(crate) fn mode(&self) -> SyncMode {
        self.mode.unwrap_or(SyncMode::Incremental)
    }
}

impl Validate for SyncRequest {
    fn validate(&self, _: &mut Vec<FieldProblem>) {}
}

/// Sync a connection now
///
/// If a sync of the same mode is queued or running, the response is its job. A connection that is
/// suspended or needs a new grant is probed by an incremental sync, which reactivates it if the
/// provider accepts the grant.
#[utoipa::path(
    post,
    path = "/v1/connections/{id}/sync",
    tag = "connections",
    security(("bearer" = ["jobs:write"])),
    params(
        ("id" = Uuid, Path, description = "The connection")
    ),
    request_body(content = Option<SyncRequest>, description = "Optional; without a body, `incremental`"),
    responses(
        (status = 202, body = JobResponse, description = "The job of the sync"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The connection is pending, paused or disconnected")
    )
)]
pub(crate) async fn sync_connection(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    IdPath(id): IdPath<ConnectionId>,
    Query(NoQuery): Query<NoQuery>,
    idempotency: Idempotency,
    OptionalJsonBody(body): OptionalJsonBody<SyncRequest>,
) -> Result<Response, ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let (scope, principal) = (&auth.scope, &auth.principal);
    if let Some(response) = idempotency.replay(&mut tx, scope, principal).await? {
        return Ok(response);
    }
    let connection = connections::lock(&mut tx, scope, id)
        .await?
        .ok_or(ApiError::NotFound("connection"))?;
    let enqueued = enqueue_sync(&*state.queue, &mut tx, scope, &connection, body.mode()).await?;
    let job = jobs::load(&*state.queue, &mut tx, scope, enqueued.job_id).await?;
    let (status, response) = (StatusCode::ACCEPTED, JobResponse { job });
    idempotency
        .keep(&mut tx, scope, principal, (status, &response))
        .await?;
    tx.commit().await?;
    state.notifier.notify();
    Ok((status, Json(response)).into_response())
}
