//! Faults on the wire that look the same at every provider.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::faults::{Effect, Rule};
use super::server::Cut;

/// A fault's answer in place of the real one; waits first if the fault is slow. `None` where
/// the provider has its own way to say it, or the real answer is needed.
pub(crate) async fn before(rule: &Rule) -> Option<Response> {
    match rule.effect {
        Effect::Slow => {
            let wait = Duration::try_from_secs_f64(rule.seconds.unwrap_or(2.0)).unwrap_or_default();
            tokio::time::sleep(wait).await;
            None
        }
        Effect::Reset => Some(cut(StatusCode::OK.into_response())),
        Effect::Status => {
            let status = rule
                .status
                .and_then(|status| StatusCode::from_u16(status).ok());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = (status, "Server Error").into_response();
            let wait = rule.seconds.map(|seconds| seconds.max(0.0).ceil());
            if let Some(value) = wait.and_then(|wait| format!("{wait}").parse().ok()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
            Some(response)
        }
        _ => None,
    }
}

/// What a fault does to the real answer.
pub(crate) async fn after(rule: &Rule, response: Response) -> Response {
    match rule.effect {
        Effect::LoseResponse => cut(response),
        Effect::Truncate => truncated(response).await,
        Effect::Replace | Effect::PoisonRow => replaced(rule, response).await,
        Effect::SlowBody => slowed(response, rule.seconds.unwrap_or(2.0)).await,
        _ => response,
    }
}

/// Closes the connection instead of answering.
pub(crate) fn cut(mut response: Response) -> Response {
    response.extensions_mut().insert(Cut);
    response
}

async fn replaced(rule: &Rule, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return cut(StatusCode::OK.into_response());
    };
    let body = rule.replaced(body);
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Response::from_parts(parts, Body::from(body))
}

/// Sends headers and half of the body at once, the other half so many seconds later.
async fn slowed(response: Response, seconds: f64) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return cut(StatusCode::OK.into_response());
    };
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let half = body.len() / 2;
    let (first, second) = (body.slice(..half), body.slice(half..));
    let late = stream::once(async move {
        tokio::time::sleep(wait).await;
        Ok::<Bytes, std::io::Error>(second)
    });
    let body = Body::from_stream(stream::iter([Ok(first)]).chain(late));
    Response::from_parts(parts, body)
}

/// Announces the whole length, sends half and breaks off.
pub(crate) async fn truncated(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return cut(StatusCode::OK.into_response());
    };
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let half: Result<Bytes, std::io::Error> = Ok(body.slice(..body.len() / 2));
    // The connection writes what it has while it waits, and only then sees the end.
    let broken = stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(std::io::Error::new(
            std::io::ErrorKind::ConnectionReset,
            "cut on command",
        ))
    });
    let body = Body::from_stream(stream::iter([half]).chain(broken));
    Response::from_parts(parts, body)
}
