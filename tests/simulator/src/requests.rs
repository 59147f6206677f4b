//! Recording of the requests that clients send.
//!
//! It is off by default because it grows in memory without limit. It keeps only the scheme of
//! `Authorization`, and no cookies.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Core;
use super::lock::Mutex;

/// Recorded requests in the order of their responses; `None` while recording is off.
#[derive(Default)]
pub(crate) struct Recording(Mutex<Option<Vec<Value>>>);

impl Recording {
    /// Starts a new recording.
    pub(crate) fn start(&self) {
        *self.0.lock() = Some(Vec::new());
    }

    /// Stops recording and discards the recorded requests.
    pub(crate) fn stop(&self) {
        *self.0.lock() = None;
    }

    /// Recorded requests, one JSON object per line.
    pub(crate) fn to_ndjson(&self) -> String {
        let mut lines = String::new();
        for request in self.0.lock().iter().flatten() {
            lines.extend([request.to_string().as_str(), "\n"]);
        }
        lines
    }

    fn is_on(&self) -> bool {
        self.0.lock().is_some()
    }

    fn add(&self, request: Value) {
        if let Some(requests) = self.0.lock().as_mut() {
            requests.push(request);
        }
    }
}

/// Middleware that records requests while recording is on.
pub(crate) async fn record(
    State(core): State<Arc<Core>>,
    request: Request,
    next: Next,
) -> Response {
    let is_control = request.uri().path().starts_with("/_sim");
    if is_control || !core.requests.is_on() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut entry = json!({
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "query": parts.uri.query().unwrap_or_default(),
        "headers": recorded_headers(&parts.headers),
        "body": String::from_utf8_lossy(&body),
    });
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    entry["status"] = json!(response.status().as_u16());
    core.requests.add(entry);
    response
}

/// Headers without secrets, in lower case; values of a repeated header are joined.
fn recorded_headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut recorded = Map::new();
    for name in headers.keys().filter(|name| **name != header::COOKIE) {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            match text.split_once(' ') {
                Some((scheme, _)) if name == header::AUTHORIZATION => scheme.to_owned(),
                _ => text,
            }
        });
        recorded.insert(
            name.to_string(),
            json!(values.collect::<Vec<_>>().join(", ")),
        );
    }
    recorded
}
