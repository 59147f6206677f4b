//! `POST /v1/jobs/bulk`, and what it shares with `POST /v1/webhook-deliveries/bulk`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::db::audit::{self, AuditEntry};
use shared::model::{BulkAction, BulkProgress, JobSelection, JobState, NewJob, RunBulkAction};
use shared::queue::bulk::{self, MAX_COUNTED};
use shared::telemetry::current_traceparent;
use utoipa::ToSchema;

use super::JobResponse;
use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{JsonBody, Validate};
use crate::idempotency::Idempotent;
use crate::query::{NoQuery, Query, is_slug};
use crate::state::AppState;

/// An action on all jobs that match a filter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkJobsRequest {
    /// `retry` dead jobs, or `cancel` queued and running ones.
    #[schema(inline)]
    action: JobsAction,
    /// The filters of `GET /v1/jobs`; `{}` matches all jobs that the action can change.
    #[schema(inline)]
    filter: JobSelection,
    /// Whether to count the matching jobs only, and change none.
    #[serde(default)]
    #[schema(default = false)]
    dry_run: bool,
}

/// An action on jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobsAction {
    /// Retries dead jobs.
    Retry,
    /// Cancels queued and running jobs.
    Cancel,
}

impl JobsAction {
    fn allows(self, state: JobState) -> bool {
        match self {
            Self::Retry => state == JobState::Dead,
            Self::Cancel => matches!(state, JobState::Queued | JobState::Running),
        }
    }
}

impl Validate for BulkJobsRequest {
    fn validate(&self, problems: &mut Vec<FieldProblem>) {
        if self
            .filter
            .state
            .is_some_and(|state| !self.action.allows(state))
        {
            problems.push(FieldProblem::new(
                "filter.state",
                "must be dead for a retry, and queued or running for a cancellation",
            ));
        }
        validate_provider(self.filter.provider.as_deref(), problems);
    }
}

/// Validates the provider of a filter.
pub(crate) fn validate_provider(provider: Option<&str>, problems: &mut Vec<FieldProblem>) {
    if provider.is_some_and(|slug| !is_slug(slug)) {
        let reason = "must be a provider's slug";
        problems.push(FieldProblem::new("filter.provider", reason));
    }
}

/// The number of items that a bulk action would change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkPreview {
    /// The number of matching items, counted up to 100,000.
    #[schema(example = 42)]
    matched: i64,
    /// Whether there are more.
    has_more: bool,
}

/// Retry or cancel all jobs that match a filter
///
/// One job changes them, from the newest to the oldest, and shows its `progress`. Jobs that are
/// created after the request do not match, and neither do other bulk actions. If the same action is
/// queued or running, the response is its job; with an `Idempotency-Key`, a repeated request within
/// a day gets the same response. With `dry_run` matching jobs are only counted.
#[utoipa::path(
    post,
    path = "/v1/jobs/bulk",
    tag = "jobs",
    security(("bearer" = ["jobs:write"])),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Identifies this request: 1 to 255 visible characters", pattern = "^[!-~]{1,255}$")
    ),
    request_body = BulkJobsRequest,
    responses(
        (status = 200, body = BulkPreview, description = "The number of matching jobs, for `dry_run`"),
        (status = 202, body = JobResponse, description = "The job that changes them"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The key was used with a different request")
    )
)]
pub(crate) async fn change_jobs(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    Query(NoQuery): Query<NoQuery>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<BulkJobsRequest>,
) -> Result<Response, ApiError> {
    let provider = body.filter.provider.clone().unwrap_or_default();
    let action = match body.action {
        JobsAction::Retry => BulkAction::Retry(body.filter),
        JobsAction::Cancel => BulkAction::Cancel(body.filter),
    };
    if body.dry_run {
        return preview(&state, &auth, &action).await;
    }
    start(&state, &auth, &headers, action, &provider).await
}

/// Counts the items that an action applies to.
pub(crate) async fn preview(
    state: &AppState,
    auth: &TenantAuth<JobsWrite>,
    action: &BulkAction,
) -> Result<Response, ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let matched = bulk::count_matching(&*state.queue, &mut tx, &auth.scope, action, None).await?;
    tx.commit().await?;
    let has_more = matched >= i64::from(MAX_COUNTED);
    Ok(Json(BulkPreview { matched, has_more }).into_response())
}

/// Enqueues the job of an action, unless one for the same action is queued or running.
pub(crate) async fn start(
    state: &AppState,
    auth: &TenantAuth<JobsWrite>,
    headers: &HeaderMap,
    action: BulkAction,
    provider: &str,
) -> Result<Response, ApiError> {
    let scope = &auth.scope;
    let detail = json!(action);
    let idempotent = Idempotent::read(headers, &format!("bulk_action {detail}"))?;
    let mut tx = state.db.begin(scope).await?;
    if let Some(response) = idempotent.find(&mut tx, scope).await? {
        return Ok(response);
    }
    let arguments = RunBulkAction {
        action,
        progress: BulkProgress::default(),
    };
    let job = NewJob {
        traceparent: current_traceparent(),
        ..NewJob::new(scope.tenant_id(), provider, None, arguments)
    };
    let enqueued = state.queue.enqueue(&mut tx, &job).await?;
    let entry = AuditEntry::new(auth.principal.actor(), "bulk_action.requested")
        .target(enqueued.job_id)
        .detail(detail);
    audit::record(&mut tx, scope, &entry).await?;
    let job = super::load(&*state.queue, &mut tx, scope, enqueued.job_id).await?;
    idempotent
        .accept(state, tx, scope, &JobResponse { job })
        .await
}
