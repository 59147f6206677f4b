//! Drive's part of the control API.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::GoogleDrive;

type Service = Arc<GoogleDrive>;

/// Index of these routes.
pub(super) const INDEX: &str = "\
GET    /_sim/google_drive/channels    watch channels
GET    /_sim/google_drive/deliveries  delivery attempts
";

pub(super) fn router(service: Service) -> Router {
    Router::new()
        .route("/_sim/google_drive/channels", get(channels))
        .route("/_sim/google_drive/deliveries", get(deliveries))
        .with_state(service)
}

async fn channels(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "channels": service.channels.list() }))
}

async fn deliveries(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "attempts": service.channels.sender().attempts() }))
}
