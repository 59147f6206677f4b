//! `POST /v1/tenants`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::db::tenants;
use utoipa::ToSchema;

use super::Tenant;
use crate::auth::{OperatorAuth, Principal};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{JsonBody, Validate, validate_name};
use crate::idempotency::Idempotency;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// A new tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// The name; surrounding whitespace is removed.
    #[schema(
        example = "Acme",
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
}

impl Validate for NewTenant {
    fn validate(&self, problems: &mut Vec<FieldProblem>) {
        validate_name(&self.name, problems);
    }
}

/// Create a tenant
///
/// Its data is isolated from that of all other tenants. Create an API key next.
#[utoipa::path(
    post,
    path = "/v1/tenants",
    tag = "tenants",
    security(("bearer" = ["operator"])),
    request_body = NewTenant,
    responses((status = 201, body = Tenant, description = "The tenant"))
)]
pub(crate) async fn create_tenant(
    State(state): State<Arc<AppState>>,
    OperatorAuth(proof): OperatorAuth,
    Query(NoQuery): Query<NoQuery>,
    idempotency: Idempotency,
    JsonBody(new): JsonBody<NewTenant>,
) -> Result<Response, ApiError> {
    let (scope, principal) = (&proof.unassigned(), &Principal::Operator);
    let mut tx = state.db.begin(scope).await?;
    if let Some(response) = idempotency.replay(&mut tx, scope, principal).await? {
        return Ok(response);
    }
    let tenant = tenants::create(&mut tx, proof, new.name.trim()).await?;
    let (status, response) = (StatusCode::CREATED, Tenant::from(tenant));
    idempotency
        .keep(&mut tx, scope, principal, (status, &response))
        .await?;
    tx.commit().await?;
    Ok((status, Json(response)).into_response())
}
