//! The operator's console: pages over the functions of the API, for browsers.
//!
//! Served only with `POBLYSH_CONSOLE=on`. GET changes nothing. A form is accepted from this origin
//! with the token of its session, and its act passes through the handler of the API, with the
//! role's check and the entry in the audit log.

mod audit_log;
mod connection_acts;
mod connections;
mod cookie;
mod deliveries;
mod home;
mod jobs;
mod live;
mod problems;
mod session;
mod sign_in;
mod signals;
mod tenants;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::error::ApiError;
use crate::state::AppState;

/// The routes of the console.
pub(crate) fn router(state: &Arc<AppState>) -> Router<Arc<AppState>> {
    Router::new()
        .route("/console", get(home::show))
        .route("/console/login", get(sign_in::show).post(sign_in::sign_in))
        .route("/console/logout", post(sign_in::sign_out))
        .route("/console/assets/{name}", get(asset))
        .route("/console/live/home", get(live::home))
        .route("/console/live/jobs", get(live::jobs))
        .route("/console/connections", get(connections::list))
        .route("/console/connections/{tenant}/{id}", get(connections::show))
        .route(
            "/console/connections/{tenant}/{id}/{act}",
            post(connection_acts::act),
        )
        .route("/console/jobs", get(jobs::list))
        .route("/console/jobs/{tenant}/{id}/{act}", post(jobs::act))
        .route("/console/deliveries", get(deliveries::list))
        .route("/console/deliveries/{tenant}/{id}", get(deliveries::show))
        .route(
            "/console/deliveries/{tenant}/{id}/body",
            post(deliveries::show_body),
        )
        .route(
            "/console/deliveries/{tenant}/{id}/replay",
            post(deliveries::replay),
        )
        .route("/console/signals", get(signals::list))
        .route("/console/signals/{tenant}/{id}", get(signals::show))
        .route("/console/tenants", get(tenants::list).post(tenants::create))
        .route("/console/tenants/{tenant}", get(tenants::show))
        .route("/console/tenants/{tenant}/keys", post(tenants::create_key))
        .route(
            "/console/tenants/{tenant}/keys/{id}/revoke",
            post(tenants::revoke_key),
        )
        .route("/console/audit-log", get(audit_log::list))
        .layer(from_fn_with_state(
            Arc::clone(&state.pages),
            problems::show_problems,
        ))
}

/// The stylesheet or the script, under the path with its digest.
async fn asset(State(state): State<Arc<AppState>>, request: Request) -> Response {
    match state.pages.console_assets().find(request.uri().path()) {
        Some(asset) => asset.respond(),
        None => ApiError::NoRoute.into_response(),
    }
}
