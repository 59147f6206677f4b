//! `POST /v1/operators`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::db::audit::{self, AuditEntry};
use shared::db::operators;
use shared::model::OperatorRole;
use utoipa::ToSchema;

use super::{Operator, validate_expiry};
use crate::auth::AdminAuth;
use crate::error::{ApiError, FieldProblem};
use crate::extract::{JsonBody, Validate, deserialize_integer, validate_name};
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// Days until a token expires if the request does not say.
const DEFAULT_EXPIRY_DAYS: i32 = 90;

/// A new operator.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOperator {
    /// The person's name, which no other operator has or had; surrounding whitespace is removed.
    #[schema(
        example = "Ada",
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
    /// The role. `viewer` reads everything except bodies, raw data and secrets; `operator` also
    /// syncs, pauses, retries, replays, reconnects, and reads bodies with an audited reason;
    /// `admin` also manages tenants, keys and operators, and disconnects.
    #[schema(inline)]
    role: OperatorRole,
    /// Days until the token expires.
    #[schema(minimum = 1, maximum = 365, default = 90)]
    #[serde(default, deserialize_with = "deserialize_integer")]
    expires_in_days: Option<i32>,
}

impl Validate for NewOperator {
    fn validate(&self, problems: &mut Vec<FieldProblem>) {
        validate_name(&self.name, problems);
        validate_expiry(self.expires_in_days, problems);
    }
}

/// A new operator with its token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedOperator {
    #[serde(flatten)]
    record: Operator,
    /// The token, shown only once.
    #[schema(example = "pbo_8fK2xA…")]
    token: String,
}

/// Create an operator
///
/// The token is shown in this response only.
#[utoipa::path(
    post,
    path = "/v1/operators",
    tag = "operators",
    security(("bearer" = ["operator", "admin"])),
    request_body = NewOperator,
    responses(
        (status = 201, body = CreatedOperator, description = "The operator and its token, shown only once"),
        (status = 409, body = shared::problem::Problem, content_type = "application/problem+json", description = "Another operator has or had the name")
    )
)]
pub(crate) async fn create_operator(
    State(state): State<Arc<AppState>>,
    AdminAuth(admin): AdminAuth,
    Query(NoQuery): Query<NoQuery>,
    JsonBody(new): JsonBody<NewOperator>,
) -> Result<(StatusCode, Json<CreatedOperator>), ApiError> {
    let scope = admin.proof.unassigned();
    let mut tx = state.db.begin(&scope).await?;
    let days = new.expires_in_days.unwrap_or(DEFAULT_EXPIRY_DAYS);
    let created = operators::create(&mut tx, new.name.trim(), new.role, days).await?;
    let entry = AuditEntry::new(admin.actor(), "operator.created")
        .target(created.operator.id)
        .detail(json!({
            "name": created.operator.name,
            "role": new.role,
            "expires_at": created.operator.expires_at,
        }));
    audit::record(&mut tx, &scope, &entry).await?;
    tx.commit().await?;
    let body = CreatedOperator {
        record: created.operator.into(),
        token: created.token.expose_secret().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(body)))
}
