//! A record of the requests that clients send: what they asked, how, and what they got.
//!
//! Off until it is switched on, because it keeps everything in memory. Authorization is kept
//! as its scheme alone, and cookies are not kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Core;

/// Requests in the order of their answers; `None` while nothing is recorded.
#[derive(Default)]
pub(crate) struct Recording(Mutex<Option<Vec<Value>>>);

impl Recording {
    /// Begins a new record.
    pub(crate) fn begin(&self) {
        *self.lock() = Some(Vec::new());
    }

    /// Ends recording and drops the record.
    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    /// The record so far, one JSON object per line.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        for request in self.lock().iter().flatten() {
            lines.extend([request.to_string().as_str(), "\n"]);
        }
        lines
    }

    fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    fn add(&self, request: Value) {
        if let Some(requests) = self.lock().as_mut() {
            requests.push(request);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Value>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records what goes through it while recording is on.
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
        "headers": headers(&parts.headers),
        "body": String::from_utf8_lossy(&body),
    });
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    entry["status"] = json!(response.status().as_u16());
    core.requests.add(entry);
    response
}

/// Headers without secrets, in lower case; the values of a repeated one are joined.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut kept = Map::new();
    for name in headers.keys().filter(|name| **name != header::COOKIE) {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            match text.split_once(' ') {
                Some((scheme, _)) if name == header::AUTHORIZATION => scheme.to_owned(),
                _ => text,
            }
        });
        kept.insert(
            name.to_string(),
            json!(values.collect::<Vec<_>>().join(", ")),
        );
    }
    kept
}
