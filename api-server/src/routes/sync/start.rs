//! `POST /v1/sync/{provider}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shared::db::connections;
use shared::model::SyncMode;
use utoipa::ToSchema;

use super::enqueue_sync;
use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{OptionalJsonBody, ProviderPath, Validate};
use crate::idempotency::Idempotency;
use crate::query::{NoQuery, Query};
use crate::routes::jobs::{self, Job};
use crate::state::AppState;

/// The settings of the syncs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderSyncRequest {
    /// `incremental` (the default) continues from the cursors; `full` reads the past again.
    #[schema(inline)]
    mode: Option<SyncMode>,
}

impl Validate for ProviderSyncRequest {
    fn validate(&self, _: &mut Vec<FieldProblem>) {}
}

/// The jobs of the syncs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsResponse {
    jobs: Vec<Job>,
}

/// Sync all active connections of a provider now
///
/// A connection whose sync of the same mode is queued or running keeps that job.
#[utoipa::path(
    post,
    path = "/v1/sync/{provider}",
    tag = "connections",
    security(("bearer" = ["jobs:write"])),
    params(("provider" = String, Path, description = "The provider's slug", pattern = "^[a-z][a-z0-9_]{0,62}$", example = "github")),
    request_body(content = Option<ProviderSyncRequest>, description = "Optional; without a body, `incremental`"),
    responses((status = 202, body = JobsResponse, description = "One job per connection"))
)]
pub(crate) async fn sync_provider(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    ProviderPath(provider): ProviderPath,
    Query(NoQuery): Query<NoQuery>,
    idempotency: Idempotency,
    OptionalJsonBody(body): OptionalJsonBody<ProviderSyncRequest>,
) -> Result<Response, ApiError> {
    if !state
        .registry
        .iter()
        .any(|(descriptor, _)| descriptor.slug == provider)
    {
        return Err(ApiError::NotFound("provider"));
    }
    let mode = body.mode.unwrap_or(SyncMode::Incremental);
    let (scope, principal) = (&auth.scope, &auth.principal);
    let mut tx = state.db.begin(scope).await?;
    if let Some(response) = idempotency.replay(&mut tx, scope, principal).await? {
        return Ok(response);
    }
    let mut response = JobsResponse { jobs: Vec::new() };
    for connection in connections::list_active(&mut tx, scope, &provider).await? {
        let enqueued = enqueue_sync(&*state.queue, &mut tx, scope, &connection, mode).await?;
        response
            .jobs
            .push(jobs::load(&*state.queue, &mut tx, scope, enqueued.job_id).await?);
    }
    let status = StatusCode::ACCEPTED;
    idempotency
        .keep(&mut tx, scope, principal, (status, &response))
        .await?;
    tx.commit().await?;
    state.notifier.notify();
    Ok((status, Json(response)).into_response())
}
