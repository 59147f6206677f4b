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
use crate::auth::{DeliveriesRead, TenantAuth};
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// A delivery with the stored parts of its request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryDetail {
    #[serde(flatten)]
    delivery: Delivery,
    /// The stored headers, by lower-case name. Signatures are not stored.
    #[schema(value_type = Object, example = json!({"x-github-event": "issues"}))]
    headers: serde_json::Value,
    /// The size of the body in bytes.
    body_bytes: usize,
    /// The body as received, in base64; for operators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Get a webhook delivery
///
/// The body is shown to operators only, because it may contain data outside of a key's scopes.
#[utoipa::path(
    get,
    path = "/v1/webhook-deliveries/{id}",
    tag = "webhook-deliveries",
    security(("bearer" = ["deliveries:read"])),
    params(("id" = Uuid, Path, description = "The delivery")),
    responses((status = 200, body = DeliveryDetail, description = "The delivery"))
)]
pub(crate) async fn get_delivery(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<DeliveriesRead>,
    IdPath(id): IdPath<DeliveryId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Json<DeliveryDetail>, ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let found = deliveries::get(&mut tx, &auth.scope, id).await?;
    tx.commit().await?;
    let detail = found.ok_or(ApiError::NotFound("delivery"))?;
    Ok(Json(DeliveryDetail {
        delivery: detail.delivery.into(),
        headers: detail.headers,
        body_bytes: detail.body.len(),
        body_base64: auth
            .principal
            .is_operator()
            .then(|| STANDARD.encode(detail.body)),
    }))
}
