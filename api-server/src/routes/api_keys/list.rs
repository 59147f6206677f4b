//! `GET /v1/tenants/{tenant_id}/api-keys`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::db::api_keys;
use shared::model::TenantId;
use utoipa::ToSchema;

use super::ApiKey;
use crate::auth::OperatorAuth;
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::Query;
use crate::routes::ListQuery;
use crate::state::AppState;

/// A page of API keys, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeyList {
    pub(crate) api_keys: Vec<ApiKey>,
    /// The cursor of the next page; null at the end.
    pub(crate) next_cursor: Option<String>,
}

/// List the API keys of a tenant
///
/// Includes revoked and expired keys; the secrets are never shown.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant_id}/api-keys",
    tag = "tenants",
    security(("bearer" = ["operator"])),
    params(("tenant_id" = Uuid, Path, description = "The tenant"), ListQuery),
    responses(
        (status = 200, body = ApiKeyList, description = "A page, newest first"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Tenant not found")
    )
)]
pub(crate) async fn list_api_keys(
    State(state): State<Arc<AppState>>,
    OperatorAuth(proof): OperatorAuth,
    IdPath(id): IdPath<TenantId>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ApiKeyList>, ApiError> {
    let request = query.page()?;
    let scope = super::resolve_tenant(&state, proof, id).await?;
    let mut tx = state.db.begin(&scope).await?;
    let page = api_keys::list(&mut tx, &scope, &request).await?;
    tx.commit().await?;
    Ok(Json(ApiKeyList {
        api_keys: page.items.into_iter().map(ApiKey::from).collect(),
        next_cursor: page.next_cursor,
    }))
}
