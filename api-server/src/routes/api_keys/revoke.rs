//! `DELETE /v1/tenants/{tenant_id}/api-keys/{id}`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use shared::db::api_keys;
use shared::db::audit::{self, AuditEntry};
use shared::model::{ApiKeyId, TenantId};

use crate::auth::AdminAuth;
use crate::error::ApiError;
use crate::extract::IdPaths;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Revoke an API key
///
/// The key is rejected from the next request on. Revoking a revoked key has no effect.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant_id}/api-keys/{id}",
    tag = "tenants",
    security(("bearer" = ["operator", "admin"])),
    params(
        ("tenant_id" = Uuid, Path, description = "The tenant"),
        ("id" = Uuid, Path, description = "The id of the key")
    ),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Tenant or API key not found")
    )
)]
pub(crate) async fn revoke_api_key(
    State(state): State<Arc<AppState>>,
    AdminAuth(operator): AdminAuth,
    IdPaths(tenant, id): IdPaths<TenantId, ApiKeyId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<StatusCode, ApiError> {
    let scope = super::resolve_tenant(&state, operator.proof, tenant).await?;
    let mut tx = state.db.begin(&scope).await?;
    if !api_keys::revoke(&mut tx, &scope, id).await? {
        return Err(ApiError::NotFound("api_key"));
    }
    let entry = AuditEntry::new(operator.actor(), "api_key.revoked").target(id);
    audit::record(&mut tx, &scope, &entry).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
