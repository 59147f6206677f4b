//! `GET /v1/signals/kinds`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::model::SignalKind;
use strum::VariantArray;
use utoipa::ToSchema;

use crate::query::{NoQuery, Query};
use crate::state::AppState;

/// The catalogue of kinds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KindList {
    kinds: Vec<KindEntry>,
}

/// A kind of Signal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KindEntry {
    kind: SignalKind,
    /// The meaning of the kind and the fields of `payload.normalized`.
    description: &'static str,
    /// Slugs of the providers that emit the kind.
    #[schema(example = json!(["github"]))]
    providers: Vec<&'static str>,
}

/// List the kinds of Signals
///
/// Public: the catalogue is the same for all tenants.
#[utoipa::path(
    get,
    path = "/v1/signals/kinds",
    tag = "signals",
    responses((status = 200, body = KindList, description = "All kinds"))
)]
pub(crate) async fn list_signal_kinds(
    State(state): State<Arc<AppState>>,
    Query(NoQuery): Query<NoQuery>,
) -> Json<KindList> {
    let kinds = SignalKind::VARIANTS.iter().map(|&kind| KindEntry {
        kind,
        description: kind.description(),
        providers: state
            .registry
            .iter()
            .filter(|(provider, _)| provider.kinds.contains(&kind))
            .map(|(provider, _)| provider.slug)
            .collect(),
    });
    Json(KindList {
        kinds: kinds.collect(),
    })
}
