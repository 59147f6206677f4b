//! `POST /v1/connections/{id}/sync`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use shared::crypto::sha256;
use shared::db::idempotency::{self, StoredResponse};
use shared::db::{Tx, connections};
use shared::model::{ConnectionId, SyncMode};
use utoipa::ToSchema;

use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, Conflict, FieldProblem};
use crate::extract::{IdPath, OptionalJsonBody, Validate, optional_header};
use crate::query::{NoQuery, Query};
use crate::routes::jobs::{self, JobResponse};
use crate::routes::sync::enqueue_sync;
use crate::state::AppState;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of a response that repeats the response to the key's first request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

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
    let is_valid = |text: &str| {
        (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let expected = "1 to 255 visible characters";
    let key = optional_header(&headers, &IDEMPOTENCY_KEY, expected, is_valid)?;
    let mode = body.mode();
    let request_hash = sha256(format!("sync_connection {id} {mode:?}").as_bytes());

    let mut tx = state.db.begin(&auth.scope).await?;
    if let Some(key) = &key
        && let Some(response) = replay(&mut tx, &auth, key, &request_hash).await?
    {
        return Ok(response);
    }
    let connection = connections::lock(&mut tx, &auth.scope, id)
        .await?
        .ok_or(ApiError::NotFound("connection"))?;
    let enqueued = enqueue_sync(&*state.queue, &mut tx, &auth.scope, &connection, mode).await?;
    let job = jobs::load(&*state.queue, &mut tx, &auth.scope, enqueued.job_id).await?;
    let response = JobResponse { job };
    if let Some(key) = &key {
        let stored = StoredResponse {
            request_hash: request_hash.to_vec(),
            status: 202,
            response: serde_json::to_value(&response).map_err(ApiError::Codec)?,
        };
        if !idempotency::store(&mut tx, &auth.scope, key, &stored).await? {
            // A concurrent request with this key won: undo this job and return its response.
            tx.rollback().await?;
            let mut tx = state.db.begin(&auth.scope).await?;
            let response = replay(&mut tx, &auth, key, &request_hash).await?;
            return response.ok_or_else(|| Conflict::IdempotencyKeyReused.into());
        }
    }
    tx.commit().await?;
    state.notifier.notify();
    Ok((StatusCode::ACCEPTED, Json(response)).into_response())
}

/// Returns the response to the key's first request, if there was one with the same content.
async fn replay(
    tx: &mut Tx,
    auth: &TenantAuth<JobsWrite>,
    key: &str,
    request_hash: &[u8; 32],
) -> Result<Option<Response>, ApiError> {
    let Some(first) = idempotency::find(tx, &auth.scope, key).await? else {
        return Ok(None);
    };
    if first.request_hash != request_hash {
        return Err(Conflict::IdempotencyKeyReused.into());
    }
    let status = u16::try_from(first.status)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::ACCEPTED);
    let body: Json<Value> = Json(first.response);
    Ok(Some((status, [(REPLAYED, "true")], body).into_response()))
}
