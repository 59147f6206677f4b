//! `GET /v1/tenants/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use shared::db::tenants;
use shared::model::TenantId;

use super::Tenant;
use crate::auth::OperatorAuth;
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Get a tenant
///
/// With its name and the time of its creation.
#[utoipa::path(
    get,
    path = "/v1/tenants/{id}",
    tag = "tenants",
    security(("bearer" = ["operator"])),
    params(("id" = Uuid, Path, description = "The tenant")),
    responses(
        (status = 200, body = Tenant, description = "The tenant"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Tenant not found")
    )
)]
pub(crate) async fn get_tenant(
    State(state): State<Arc<AppState>>,
    OperatorAuth(proof): OperatorAuth,
    IdPath(id): IdPath<TenantId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Json<Tenant>, ApiError> {
    let tenant = tenants::get(&state.db, proof, id)
        .await?
        .ok_or(ApiError::NotFound("tenant"))?;
    Ok(Json(tenant.into()))
}
