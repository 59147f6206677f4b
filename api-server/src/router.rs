//! All routes, and the document that is made of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use shared::telemetry::{Health, HttpTracking, operational_routes, track_http};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::error::ApiError;
use crate::state::AppState;
use crate::{layers, limits, openapi, routes};

/// The API's routes and their document.
pub(crate) fn build() -> (Router<Arc<AppState>>, OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(openapi::base())
        .merge(routes::providers::router())
        .merge(routes::tenants::router())
        .merge(routes::api_keys::router())
        .merge(routes::connect::router())
        .merge(routes::connections::router())
        .merge(routes::sync::router())
        .merge(routes::jobs::router())
        .merge(routes::signals::router())
        .merge(routes::deliveries::router())
        .split_for_parts();
    openapi::complete(&mut document);
    (router, document)
}

/// Everything that the server serves.
pub(crate) fn app(state: Arc<AppState>) -> Router {
    let (router, document) = build();
    let docs: Router = SwaggerUi::new("/docs")
        .url("/openapi.json", document)
        .config(
            Config::default()
                .try_it_out_enabled(true)
                .persist_authorization(false)
                .display_operation_id(true)
                .validator_url("none"),
        )
        .into();
    let router = router
        .with_state(state)
        .merge(docs.layer(map_response(layers::tell_what_is_missing)))
        .fallback(async || ApiError::NoRoute)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    layered(router)
}

/// Health and metrics.
pub(crate) fn operational(health: Health) -> Router {
    let router = operational_routes(health);
    let router = router.method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    layered(router)
}

fn layered(router: Router) -> Router {
    router
        .layer(DefaultBodyLimit::max(layers::BODY_LIMIT))
        .layer(from_fn(layers::limit_time))
        .layer(from_fn(limits::show_limits))
        .layer(CatchPanicLayer::custom(layers::answer_panic))
        .layer(from_fn(layers::secure))
        .layer(from_fn_with_state(
            HttpTracking::new("api-server"),
            track_http,
        ))
}
