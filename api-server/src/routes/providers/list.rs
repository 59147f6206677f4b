//! `GET /v1/providers`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::connectors::AuthType;
use utoipa::ToSchema;

use crate::query::{NoQuery, Query};
use crate::state::{AppState, url_below};

/// Every provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProviderList {
    providers: Vec<Provider>,
}

/// A provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Provider {
    /// Its name in URLs and in a Signal's `source`.
    #[schema(example = "github")]
    slug: &'static str,
    /// Its name for people.
    #[schema(example = "GitHub")]
    display_name: &'static str,
    /// How people connect it.
    auth_type: AuthType,
    /// What is asked of the person who connects.
    #[schema(example = json!(["issues:read"]))]
    scopes: &'static [&'static str],
    /// Whether it sends webhooks.
    webhooks: bool,
    /// Whether it is polled.
    polling: bool,
    /// Whether the operator has set it up; if not, it cannot be connected.
    configured: bool,
    /// Where its webhooks must be sent to; null when it sends none.
    #[schema(example = "http://127.0.0.1:8081/webhooks/github")]
    webhook_url: Option<String>,
}

/// Lists the providers
///
/// Public: says what can be connected, and what the operator has set up.
#[utoipa::path(
    get,
    path = "/v1/providers",
    tag = "providers",
    responses((status = 200, body = ProviderList, description = "Every provider"))
)]
pub(crate) async fn list_providers(
    State(state): State<Arc<AppState>>,
    Query(NoQuery): Query<NoQuery>,
) -> Json<ProviderList> {
    let providers = state.registry.iter().map(|(known, configured)| {
        let url = url_below(&state.public_webhook_url, &["webhooks", known.slug]);
        Provider {
            slug: known.slug,
            display_name: known.display_name,
            auth_type: known.auth_type,
            scopes: known.scopes,
            webhooks: known.webhooks,
            polling: known.polling,
            configured,
            webhook_url: known.webhooks.then(|| url.into()),
        }
    });
    Json(ProviderList {
        providers: providers.collect(),
    })
}
