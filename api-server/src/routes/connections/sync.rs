//! `POST /v1/connections/{id}/sync`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use shared::db::connections;
use shared::model::{ConnectionId, SyncMode};
use utoipa::ToSchema;

use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{IdPath, OptionalJsonBody, Validate};
use crate::idempotency::Idempotent;
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
    pub(crate) mode: Option<SyncMode>,
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
/// provider accepts the grant. With an `Idempotency-Key`, a repeated request within a day gets the
/// same response.
#[utoipa::path(
    post,
    path = "/v1/connections/{id}/sync",
    tag = "connections",
    security(("bearer" = ["jobs:write"])),
    params(
        ("id" = Uuid, Path, description = "The connection"),
        ("Idempotency-Key" = Option<String>, Header, description = "Identifies this request: 1 to 255 visible characters", pattern = "^[!-~]{1,255}$")
    ),
    request_body(content = Option<SyncRequest>, description = "Optional; without a body, `incremental`"),
    responses(
        (status = 202, body = JobResponse, description = "The job of the sync"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The connection is pending, paused or disconnected, or the key was used with a different request")
    )
)]
pub(crate) async fn sync_connection(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    IdPath(id): IdPath<ConnectionId>,
    Query(NoQuery): Query<NoQuery>,
    headers: HeaderMap,
    OptionalJsonBody(body): OptionalJsonBody<SyncRequest>,
) -> Result<Response, ApiError> {
    let mode = body.mode();
    let idempotent = Idempotent::read(&headers, &format!("sync_connection {id} {mode:?}"))?;
    let mut tx = state.db.begin(&auth.scope).await?;
    if let Some(response) = idempotent.find(&mut tx, &auth.scope).await? {
        return Ok(response);
    }
    let connection = connections::lock(&mut tx, &auth.scope, id)
        .await?
        .ok_or(ApiError::NotFound("connection"))?;
    let enqueued = enqueue_sync(&*state.queue, &mut tx, &auth.scope, &connection, mode).await?;
    let job = jobs::load(&*state.queue, &mut tx, &auth.scope, enqueued.job_id).await?;
    let response = JobResponse { job };
    idempotent.accept(&state, tx, &auth.scope, &response).await
}
