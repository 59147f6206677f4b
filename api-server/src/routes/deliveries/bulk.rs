//! `POST /v1/webhook-deliveries/bulk`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use shared::db::deliveries::DeliveryOutcome;
use shared::model::{BulkAction, DeliverySelection};
use utoipa::ToSchema;

use crate::auth::{JobsWrite, TenantAuth};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{JsonBody, Validate};
use crate::query::{NoQuery, Query};
use crate::routes::jobs::JobResponse;
use crate::routes::jobs::bulk::{self, BulkPreview};
use crate::state::AppState;

/// An action on all deliveries that match a filter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkDeliveriesRequest {
    /// The action.
    #[schema(inline)]
    action: DeliveriesAction,
    /// The filters of `GET /v1/webhook-deliveries`; `{}` matches all that can be replayed.
    #[schema(inline)]
    filter: DeliverySelection,
    /// Whether to count the matching deliveries only, and replay none.
    #[serde(default)]
    #[schema(default = false)]
    dry_run: bool,
}

/// An action on deliveries.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveriesAction {
    /// Processes them again.
    Replay,
}

impl Validate for BulkDeliveriesRequest {
    fn validate(&self, problems: &mut Vec<FieldProblem>) {
        if self.filter.outcome == Some(DeliveryOutcome::Pending) {
            problems.push(FieldProblem::new(
                "filter.outcome",
                "must not be pending: a job processes such deliveries already",
            ));
        }
        bulk::validate_provider(self.filter.provider.as_deref(), problems);
    }
}

/// Replay all deliveries that match a filter
///
/// One job replays them, from the newest to the oldest, and shows its `progress`; it waits while
/// many deliveries of the tenant are queued. Their Signals keep their identity, so there are no
/// duplicates. Rows that a poll read, pending deliveries, and those that arrive after the request do
/// not match. If the same action is queued or running, the response is its job; with an
/// `Idempotency-Key`, a repeated request within a day gets the same response. With `dry_run`
/// matching deliveries are only counted.
#[utoipa::path(
    post,
    path = "/v1/webhook-deliveries/bulk",
    tag = "webhook-deliveries",
    security(("bearer" = ["jobs:write"])),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Identifies this request: 1 to 255 visible characters", pattern = "^[!-~]{1,255}$")
    ),
    request_body = BulkDeliveriesRequest,
    responses(
        (status = 200, body = BulkPreview, description = "The number of matching deliveries, for `dry_run`"),
        (status = 202, body = JobResponse, description = "The job that replays them"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The key was used with a different request")
    )
)]
pub(crate) async fn replay_deliveries(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<JobsWrite>,
    Query(NoQuery): Query<NoQuery>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<BulkDeliveriesRequest>,
) -> Result<Response, ApiError> {
    let DeliveriesAction::Replay = body.action;
    let provider = body.filter.provider.clone().unwrap_or_default();
    let action = BulkAction::Replay(body.filter);
    if body.dry_run {
        return bulk::preview(&state, &auth, &action).await;
    }
    bulk::start(&state, &auth, &headers, action, &provider).await
}
