//! `POST /v1/tenants/{tenant_id}/api-keys`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::db::api_keys::{self, ApiScope};
use shared::db::audit::{self, AuditActor, AuditEntry};
use shared::model::TenantId;
use strum::VariantArray;
use utoipa::ToSchema;

use super::ApiKey;
use crate::auth::{OperatorAuth, Principal};
use crate::error::{ApiError, FieldProblem};
use crate::extract::{IdPath, JsonBody, Validate, deserialize_integer, validate_name};
use crate::idempotency::Idempotency;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// A new API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApiKey {
    /// The name that its owner chose; surrounding whitespace is removed.
    #[schema(
        example = "Story Hunter",
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
    /// The scopes of the key; all scopes if absent.
    #[schema(min_items = 1)]
    scopes: Option<Vec<ApiScope>>,
    /// Days until the key expires; it never expires if absent.
    #[schema(minimum = 1, maximum = 3650)]
    #[serde(default, deserialize_with = "deserialize_integer")]
    expires_in_days: Option<i32>,
}

impl Validate for NewApiKey {
    fn validate(&self, problems: &mut Vec<FieldProblem>) {
        validate_name(&self.name, problems);
        if self.scopes.as_ref().is_some_and(Vec::is_empty) {
            problems.push(FieldProblem::new("scopes", "must name at least one scope"));
        }
        if self
            .expires_in_days
            .is_some_and(|days| !(1..=3650).contains(&days))
        {
            problems.push(FieldProblem::new(
                "expires_in_days",
                "must be from 1 to 3650",
            ));
        }
    }
}

/// A new API key with its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedApiKey {
    #[serde(flatten)]
    record: ApiKey,
    /// The secret key, shown only once.
    #[schema(example = "pbk_8fK2xA…")]
    key: String,
}

/// Create an API key
///
/// The key is shown in this response only.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant_id}/api-keys",
    tag = "tenants",
    security(("bearer" = ["operator"])),
    params(("tenant_id" = Uuid, Path, description = "The tenant")),
    request_body = NewApiKey,
    responses(
        (status = 201, body = CreatedApiKey, description = "The key, shown only once"),
        (status = 404, body = shared::problem::Problem, content_type = "application/problem+json", description = "Tenant not found")
    )
)]
pub(crate) async fn create_api_key(
    State(state): State<Arc<AppState>>,
    operator: OperatorAuth,
    IdPath(id): IdPath<TenantId>,
    Query(NoQuery): Query<NoQuery>,
    idempotency: Idempotency,
    JsonBody(new): JsonBody<NewApiKey>,
) -> Result<Response, ApiError> {
    let scope = super::resolve_tenant(&state, operator, id).await?;
    let requested = new.scopes.unwrap_or_else(|| ApiScope::VARIANTS.to_vec());
    // In the order of the enum and without duplicates.
    let names: BTreeSet<&str> = requested.iter().map(|scope| scope.as_str()).collect();
    let scopes: Vec<ApiScope> = ApiScope::VARIANTS
        .iter()
        .copied()
        .filter(|s| names.contains(s.as_str()))
        .collect();

    let principal = &Principal::Operator;
    let mut tx = state.db.begin(&scope).await?;
    if let Some(response) = idempotency.replay(&mut tx, &scope, principal).await? {
        return Ok(response);
    }
    let created = api_keys::create(
        &mut tx,
        &scope,
        new.name.trim(),
        &scopes,
        new.expires_in_days,
    )
    .await?;
    let entry = AuditEntry::new(AuditActor::Operator, "api_key.created")
        .target(created.key.id)
        .detail(json!({ "scopes": scopes, "expires_at": created.key.expires_at }));
    audit::record(&mut tx, &scope, &entry).await?;
    idempotency
        .keep_object(&mut tx, &scope, principal, created.key.id.0)
        .await?;
    tx.commit().await?;
    let body = CreatedApiKey {
        record: created.key.into(),
        key: created.secret.expose_secret().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
