//! All routes, and the OpenAPI document that is generated from them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use shared::config::Process;
use shared::service::{Health, operational_routes};
use shared::telemetry::{HttpTracking, track_http};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::error::ApiError;
use crate::pages::connect::show_problems;
use crate::state::AppState;
use crate::{compression, etag, idempotency, limits, middleware, openapi, routes};

/// Builds the API's routes and their OpenAPI document.
pub(crate) fn build() -> (Router<Arc<AppState>>, OpenApi) {
    // The routes whose responses to GET contain no secret.
    let readable = OpenApiRouter::new()
        .merge(routes::providers::router())
        .merge(routes::tenants::router())
        .merge(routes::api_keys::router())
        .merge(routes::connections::router())
        .merge(routes::sync::router())
        .merge(routes::jobs::router())
        .merge(routes::signals::router())
        .merge(routes::deliveries::router())
        .merge(routes::overview::router())
        .layer(from_fn(etag::add_etag))
        .layer(from_fn(compression::allow_compression));
    let (router, mut document) = OpenApiRouter::with_openapi(openapi::base())
        .merge(readable)
        .merge(routes::connect::router())
        .split_for_parts();
    openapi::complete(&mut document);
    (router, document)
}

/// The OpenAPI document as JSON, in the form of `docs/openapi.json`.
pub fn openapi_json() -> String {
    let (_, document) = build();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The router of the API and its documentation.
pub(crate) fn app(state: Arc<AppState>) -> Router {
    let (router, document) = build();
    let docs: Router = SwaggerUi::new("/docs")
        .url("/openapi.json", document)
        .config(
            Config::default()
                .try_it_out_enabled(true)
                .persist_authorization(true)
                .display_operation_id(true)
                .validator_url("none"),
        )
        .into();
    let pages = Arc::clone(&state.pages);
    let router = router
        .with_state(state)
        .merge(
            docs.layer(map_response(middleware::replace_docs_errors))
                .layer(from_fn(compression::allow_compression)),
        )
        .fallback(async || ApiError::NoRoute)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    // Outermost, because the other middleware responds with problems, too.
    with_middleware(router).layer(from_fn_with_state(pages, show_problems))
}

/// The router of health and metrics.
pub(crate) fn operational(health: Health) -> Router {
    let router = operational_routes(health).layer(from_fn(compression::allow_compression));
    let router = router.method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    with_middleware(router)
}

fn with_middleware(router: Router) -> Router {
    router
        .layer(from_fn(idempotency::hash_request))
        .layer(DefaultBodyLimit::max(middleware::MAX_BODY_BYTES))
        .layer(from_fn(middleware::enforce_timeout))
        .layer(from_fn(limits::add_rate_limit_headers))
        .layer(compression::layer())
        .layer(CatchPanicLayer::custom(middleware::handle_panic))
        .layer(from_fn(middleware::add_security_headers))
        .layer(from_fn_with_state(
            HttpTracking::new(Process::Api.name()),
            track_http,
        ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn operations_have_unique_ids_and_documented_errors() {
        let (_, document) = super::build();
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in &document.paths.paths {
            let operations = [&item.get, &item.post, &item.patch, &item.delete];
            for operation in operations.into_iter().flatten() {
                let id = operation.operation_id.clone().expect("an operation id");
                assert!(id.contains('_'), "{id} is not <verb>_<resource>");
                assert!(ids.insert(id), "{path} repeats an operation id");
                assert!(operation.responses.responses.contains_key("500"), "{path}");
                assert_eq!(operation.tags.as_ref().map(Vec::len), Some(1), "{path}");
            }
        }
        assert!(ids.len() > 25, "{} operations", ids.len());
    }
}
