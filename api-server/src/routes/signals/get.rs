//! `GET /v1/signals/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use shared::model::SignalId;
use shared::signals::Signal;
use utoipa::IntoParams;

use super::Include;
use crate::auth::{SignalsRead, TenantAuth};
use crate::error::ApiError;
use crate::extract::IdPath;
use crate::query::{FromQuery, Query, QueryReader};
use crate::state::AppState;

/// The parameters of the request.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SignalQuery {
    /// `raw` adds the provider's object.
    #[param(inline)]
    include: Option<Include>,
}

impl FromQuery for SignalQuery {
    fn read(query: &mut QueryReader) -> Self {
        Self {
            include: query.enum_value("include"),
        }
    }
}

/// Get a Signal
///
/// The same object as in the feed.
#[utoipa::path(
    get,
    path = "/v1/signals/{id}",
    tag = "signals",
    security(("bearer" = ["signals:read"])),
    params(("id" = Uuid, Path, description = "The Signal"), SignalQuery),
    responses((status = 200, body = Signal, description = "The Signal"))
)]
pub(crate) async fn get_signal(
    State(state): State<Arc<AppState>>,
    auth: TenantAuth<SignalsRead>,
    IdPath(id): IdPath<SignalId>,
    Query(query): Query<SignalQuery>,
) -> Result<Json<Signal>, ApiError> {
    let found = state
        .feed
        .get(&auth.scope, id, query.include.is_some())
        .await?;
    Ok(Json(found.ok_or(ApiError::NotFound("signal"))?))
}
