//! `GET /v1/webhook-deliveries/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use shared::db::deliveries;
use shared::ids::DeliveryId;
use utoipa::ToSchema;

use super::Delivery;
use crate::auth::{DeliveriesRead, TenantAuth};
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// A delivery with what was kept of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WholeDelivery {
    #[serde(flatten)]
    delivery: Delivery,
    /// The kept headers, by lower-case name. Signatures are not kept.
    #[schema(value_type = Object, example = json!({"x-github-event": "issues"}))]
    headers: serde_json::Value,
    /// How many bytes the body has.
    body_bytes: usize,
    /// The body as received, in base64; only for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Shows a webhook delivery
///
/// The body is shown to operators only: it may hold what a tenant's key must not read.
#[utoipa::path(
    get,
    path = "/v1/webhook-deliveries/{id}",
    tag = "webhook-deliveries",
    security(("bearer" = ["deliveries:read"])),
    params(("id" = Uuid, Path, description = "The delivery")),
    responses((status = 200, body = WholeDelivery, description = "The delivery"))
)]
pub(crate) async fn get_delivery(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<DeliveriesRead>,
    IdPath(id): IdPath<DeliveryId>,
    Query(NoQuery): Query<NoQuery>,
) -> Result<Json<WholeDelivery>, ApiError> {
    let mut tx = state.db.begin(&auth.scope).await?;
    let found = deliveries::get(&mut tx, &auth.scope, id).await?;
    tx.commit().await?;
    let whole = found.ok_or(ApiError::NotFound("delivery"))?;
    Ok(Json(WholeDelivery {
        delivery: whole.delivery.into(),
        headers: whole.headers,
        body_bytes: whole.body.len(),
        body_base64: auth
            .principal
            .is_operator()
            .then(|| STANDARD.encode(whole.body)),
    }))
}
