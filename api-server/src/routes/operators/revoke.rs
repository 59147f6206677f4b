//! `DELETE /v1/operators/{id}`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use shared::db::audit::{self, AuditEntry};
use shared::db::operators;
use shared::model::OperatorId;

use crate::auth::AdminAuth;
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Revoke an operator
///
/// The token, the sessions in the console and unused login links are rejected from the next request
/// on. The operator stays in the list and in the audit log. Revoking a revoked one has no effect.
#[utoipa::path(
    delete,
    path = "/v1/operators/{id}",
    tag = "operators",
    security(("bearer" = ["operator", "admin"])),
    params(("id" = Uuid, Path, description = "The operator")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Operator not found")
    )
)]
pub(crate) async fn revoke_operator(
    State(state): State<Arc<AppState>>,
    AdminAuth(admin): AdminAuth,
    IdPath(id): IdPath<OperatorId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<StatusCode, ApiError> {
    let scope = admin.proof.unassigned();
    let mut tx = state.db.begin(&scope).await?;
    if !operators::revoke(&mut tx, id).await? {
        return Err(ApiError::NotFound("operator"));
    }
    let entry = AuditEntry::new(admin.actor(), "operator.revoked").target(id);
    audit::record(&mut tx, &scope, &entry).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
