//! `PATCH /v1/operators/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use shared::db::audit::{self, AuditEntry};
use shared::db::operators;
use shared::model::{OperatorId, OperatorRole};
use utoipa::ToSchema;

use super::{Operator, validate_expiry};
use crate::auth::AdminAuth;
use crate::error::{ApiError, Conflict, FieldProblem};
use crate::extract::{IdPath, JsonBody, Validate, deserialize_integer};
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// The changes; absent fields stay unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorChange {
    /// The role.
    #[schema(inline)]
    role: Option<OperatorRole>,
    /// Days until the token expires, from now on.
    #[schema(minimum = 1, maximum = 365)]
    #[serde(default, deserialize_with = "deserialize_integer")]
    expires_in_days: Option<i32>,
}

impl Validate for OperatorChange {
    fn validate(&self, problems: &mut Vec<FieldProblem>) {
        validate_expiry(self.expires_in_days, problems);
    }
}

/// Change an operator's role, or the expiry of its token
///
/// The change applies from the next request on, in sessions of the console as well.
#[utoipa::path(
    patch,
    path = "/v1/operators/{id}",
    tag = "operators",
    security(("bearer" = ["operator", "admin"])),
    params(("id" = Uuid, Path, description = "The operator")),
    request_body = OperatorChange,
    responses(
        (status = 200, body = Operator, description = "The updated operator"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Operator not found"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "The operator is revoked")
    )
)]
pub(crate) async fn update_operator(
    State(state): State<Arc<AppState>>,
    AdminAuth(admin): AdminAuth,
    IdPath(id): IdPath<OperatorId>,
    Query(NoQuery): Query<NoQuery>,
    JsonBody(change): JsonBody<OperatorChange>,
) -> Result<Json<Operator>, ApiError> {
    let scope = admin.proof.unassigned();
    let mut tx = state.db.begin(&scope).await?;
    let before = operators::get(&mut tx, id)
        .await?
        .ok_or(ApiError::NotFound("operator"))?;
    if before.revoked_at.is_some() {
        return Err(Conflict::OperatorNotValid.into());
    }
    if let Some(role) = change.role
        && role != before.role
    {
        if !operators::set_role(&mut tx, id, role).await? {
            return Err(Conflict::OperatorNotValid.into());
        }
        let entry = AuditEntry::new(admin.actor(), "operator.role_changed")
            .target(id)
            .detail(json!({ "from": before.role, "to": role }));
        audit::record(&mut tx, &scope, &entry).await?;
    }
    if let Some(days) = change.expires_in_days {
        if !operators::set_expiry(&mut tx, id, days).await? {
            return Err(Conflict::OperatorNotValid.into());
        }
        let entry = AuditEntry::new(admin.actor(), "operator.expiry_changed")
            .target(id)
            .detail(json!({ "expires_in_days": days }));
        audit::record(&mut tx, &scope, &entry).await?;
    }
    let updated = operators::get(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(updated.ok_or(ApiError::NotFound("operator"))?.into()))
}
