//! `GET /v1/tenants`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::db::tenants;
use utoipa::ToSchema;

use super::Tenant;
use crate::auth::OperatorAuth;
use crate::error::ApiError;
use crate::query::Query;
use crate::routes::ListQuery;
use crate::state::AppState;

/// A page of tenants, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantList {
    tenants: Vec<Tenant>,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// List the tenants
///
/// Newest first.
#[utoipa::path(
    get,
    path = "/v1/tenants",
    tag = "tenants",
    security(("bearer" = ["operator"])),
    params(ListQuery),
    responses((status = 200, body = TenantList, description = "A page, newest first"))
)]
pub(crate) async fn list_tenants(
    State(state): State<Arc<AppState>>,
    OperatorAuth(proof): OperatorAuth,
    Query(query): Query<ListQuery>,
) -> Result<Json<TenantList>, ApiError> {
    let page = tenants::list(&state.db, proof, &query.page()?).await?;
    Ok(Json(TenantList {
        tenants: page.items.into_iter().map(Tenant::from).collect(),
        next_cursor: page.next_cursor,
    }))
}
