//! `GET /v1/providers`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::connectors::AuthType;
use utoipa::ToSchema;

use crate::query::{NoQuery, Query};
use crate::state::{AppState, append_path};

/// All providers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProviderList {
    providers: Vec<Provider>,
}

/// A provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Provider {
    /// The slug in URLs and in `source` of a Signal.
    #[schema(example = "github")]
    slug: &'static str,
    /// The display name.
    #[schema(example = "GitHub")]
    display_name: &'static str,
    /// The type of the authorization.
    auth_type: AuthType,
    /// The scopes that the connect flow requests.
    #[schema(example = json!(["issues:read"]))]
    scopes: &'static [&'static str],
    /// Whether the provider sends webhooks.
    webhooks: bool,
    /// Whether connections are polled.
    polling: bool,
    /// Whether the provider is configured; if not, it cannot be connected.
    configured: bool,
    /// The URL for webhooks; null if the provider sends none.
    #[schema(example = "http://127.0.0.1:8081/webhooks/github")]
    webhook_url: Option<String>,
}

/// List the providers
///
/// Public: shows which providers exist and which are configured.
#[utoipa::path(
    get,
    path = "/v1/providers",
    tag = "providers",
    responses((status = 200, body = ProviderList, description = "All providers"))
)]
pub(crate) async fn list_providers(
    State(state): State<Arc<AppState>>,
    Query(NoQuery): Query<NoQuery>,
) -> Json<ProviderList> {
    let providers = state.registry.iter().map(|(descriptor, configured)| {
        let url = append_path(&state.public_webhook_url, &["webhooks", descriptor.slug]);
        Provider {
            slug: descriptor.slug,
            display_name: descriptor.display_name,
            auth_type: descriptor.auth_type,
            scopes: descriptor.scopes,
            webhooks: descriptor.webhooks,
            polling: descriptor.polling,
            configured,
            webhook_url: descriptor.webhooks.then(|| url.into()),
        }
    });
    Json(ProviderList {
        providers: providers.collect(),
    })
}
