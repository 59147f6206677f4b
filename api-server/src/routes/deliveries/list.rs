//! `GET /v1/webhook-deliveries`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::db::deliveries::{self, DeliveryFilter, DeliveryOutcome};
use shared::model::ConnectionId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Delivery;
use crate::auth::{DeliveriesRead, TenantAuth};
use crate::error::ApiError;
use crate::query::{FromQuery, Query, QueryReader};
use crate::routes::ListQuery;
use crate::state::AppState;

/// The filters of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// The provider's slug.
    #[param(pattern = "^[a-z][a-z0-9_]{0,62}$")]
    provider: Option<String>,
    /// The outcome of the deliveries.
    #[param(inline)]
    outcome: Option<DeliveryOutcome>,
    /// The connection of the deliveries.
    connection_id: Option<Uuid>,
}

impl FromQuery for (DeliveriesQuery, ListQuery) {
    fn read(query: &mut QueryReader) -> Self {
        let filter = DeliveriesQuery {
            provider: query.slug("provider"),
            outcome: query.enum_value("outcome"),
            connection_id: query.uuid("connection_id"),
        };
        (filter, ListQuery::read(query))
    }
}

/// A page of deliveries, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    deliveries: Vec<Delivery>,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// List the webhook deliveries
///
/// An operator may send the nil UUID in `X-Tenant-Id` for deliveries that match no connection.
#[utoipa::path(
    get,
    path = "/v1/webhook-deliveries",
    tag = "webhook-deliveries",
    security(("bearer" = ["deliveries:read"])),
    params(DeliveriesQuery, ListQuery),
    responses((status = 200, body = DeliveryList, description = "A page, newest first"))
)]
pub(crate) async fn list_deliveries(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<DeliveriesRead>,
    Query((query, list)): Query<(DeliveriesQuery, ListQuery)>,
) -> Result<Json<DeliveryList>, ApiError> {
    let request = list.page()?;
    let filter = DeliveryFilter {
        provider: query.provider,
        outcome: query.outcome,
        connection_id: query.connection_id.map(ConnectionId),
    };
    let mut tx = state.db.begin(&auth.scope).await?;
    let page = deliveries::list(&mut tx, &auth.scope, &filter, &request).await?;
    tx.commit().await?;
    Ok(Json(DeliveryList {
        deliveries: page.items.into_iter().map(Delivery::from).collect(),
        next_cursor: page.next_cursor,
    }))
}
