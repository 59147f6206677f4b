//! `GET /v1/operators`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::db::operators;
use utoipa::ToSchema;

use super::Operator;
use crate::auth::OperatorAuth;
use crate::error::ApiError;
use crate::query::Query;
use crate::routes::ListQuery;
use crate::state::AppState;

/// A page of operators, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperatorList {
    operators: Vec<Operator>,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// List the operators
///
/// Includes revoked and expired ones. The operator whose token is in the settings is not listed.
#[utoipa::path(
    get,
    path = "/v1/operators",
    tag = "operators",
    security(("bearer" = ["operator"])),
    params(ListQuery),
    responses((status = 200, body = OperatorList, description = "A page, newest first"))
)]
pub(crate) async fn list_operators(
    State(state): State<Arc<AppState>>,
    OperatorAuth(proof): OperatorAuth,
    Query(list): Query<ListQuery>,
) -> Result<Json<OperatorList>, ApiError> {
    let request = list.page()?;
    let mut tx = state.db.begin(&proof.unassigned()).await?;
    let page = operators::list(&mut tx, &request).await?;
    tx.commit().await?;
    Ok(Json(OperatorList {
        operators: page.items.into_iter().map(Operator::from).collect(),
        next_cursor: page.next_cursor,
    }))
}
