//! `GET /v1/webhook-deliveries/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use shared::db::deliveries;
use shared::model::DeliveryId;
use utoipa::ToSchema;

use super::Delivery;
use crate::auth::{AuditReason, DeliveriesRead, TenantAuth};
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// A delivery with the stored parts of its request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryDetail {
    #[serde(flatten)]
    pub(crate) delivery: Delivery,
    /// The stored headers, by lower-case name. Signatures are not stored.
    #[schema(value_type = Object, example = json!({"x-github-event": "issues"}))]
    pub(crate) headers: serde_json::Value,
    /// The size of the body in bytes.
    pub(crate) body_bytes: usize,
    /// The body as received, in base64; only for an operator who gives an `X-Audit-Reason`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body_base64: Option<String>,
}

/// Get a webhook delivery
///
/// The body may contain data outside of a key's scopes. It is shown only to an operator of the role
/// `operator` or `admin` who gives a reason in `X-Audit-Reason`, which the audit log records.
#[utoipa::path(
    get,
    path = "/v1/webhook-deliveries/{id}",
    tag = "webhook-deliveries",
    security(("bearer" = ["deliveries:read"])),
    params(
        ("id" = Uuid, Path, description = "The delivery"),
        ("X-Audit-Reason" = Option<String>, Header, description = "Why an operator reads the body, for the audit log", min_length = 3, max_length = 500)
    ),
    responses((status = 200, body = DeliveryDetail, description = "The delivery"))
)]
pub(crate) async fn get_delivery(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<DeliveriesRead>,
    IdPath(id): IdPath<DeliveryId>,
    Query(NoQuery): Query<NoQuery>,
    reason: AuditReason,
) -> Result<Json<DeliveryDetail>, ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let found = deliveries::get(&mut tx, &auth.scope, id).await?;
    let detail = found.ok_or(ApiError::NotFound("delivery"))?;
    let target = id.to_string();
    let read = ("delivery.body_read", target.as_str());
    let shows_body = auth
        .principal
        .disclose(&mut tx, &auth.scope, &reason, read)
        .await?;
    tx.commit().await?;
    Ok(Json(DeliveryDetail {
        delivery: detail.delivery.into(),
        headers: detail.headers,
        body_bytes: detail.body.len(),
        body_base64: shows_body.then(|| STANDARD.encode(detail.body)),
    }))
}
