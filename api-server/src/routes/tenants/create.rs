//! `POST /v1/tenants`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use shared::db::tenants;
use utoipa::ToSchema;

use super::Tenant;
use crate::auth::AdminAuth;
use crate::error::{ApiError, FieldProblem};
use crate::extract::{JsonBody, Validate, validate_name};
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
    pub(crate) name: String,
}

impl Validate for NewTenant {
    fn validate(&self, problems: &mut Vec<FieldProblem>) {
        validate_name(&self.name, problems);
    }
}

/// Create a tenant
#[utoipa::path(
    post,
    path = "/v1/tenants",
    tag = "tenants",
    security(("bearer" = ["operator", "admin"])),
    request_body = NewTenant,
    responses((status = 201, body = Tenant, description = "The tenant"))
)]
pub(crate) async fn create_tenant(
    State(state): State<Arc<AppState>>,
    AdminAuth(operator): AdminAuth,
    Query(NoQuery): Query<NoQuery>,
    JsonBody(new): JsonBody<NewTenant>,
) -> Result<(StatusCode, Json<Tenant>), ApiError> {
    let tenant =
        tenants::create(&state.db, operator.proof, operator.actor(), new.name.trim()).await?;
    Ok((StatusCode::CREATED, Json(tenant.into())))
}
