//! Faults of HTTP responses that are the same for all providers.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::faults::{Effect, Rule};
use super::server::CloseConnection;

/// Response of a fault that skips the handler.
///
/// `None` if the provider has its own form of the fault or if the handler must run. Waits before
/// it returns if the fault is a delay.
pub(crate) async fn fault_response(rule: &Rule) -> Option<Response> {
    match rule.effect {
        Effect::Slow => {
            let wait = Duration::try_from_secs_f64(rule.seconds.unwrap_or(2.0)).unwrap_or_default();
            tokio::time::sleep(wait).await;
            None
        }
        Effect::Reset => Some(close_connection(StatusCode::OK.into_response())),
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

/// Applies a fault to the handler's response.
pub(crate) async fn apply_fault(rule: &Rule, response: Response) -> Response {
    match rule.effect {
        Effect::LoseResponse => close_connection(response),
        Effect::Truncate => truncate(response).await,
        Effect::Replace | Effect::PoisonRow => replace_body(rule, response).await,
        Effect::SlowBody => delay_body(response, rule.seconds.unwrap_or(2.0)).await,
        _ => response,
    }
}

/// Marks a response so that the server closes the socket instead of sending it.
pub(crate) fn close_connection(mut response: Response) -> Response {
    response.extensions_mut().insert(CloseConnection);
    response
}

async fn replace_body(rule: &Rule, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return close_connection(StatusCode::OK.into_response());
    };
    let body = rule.apply_to_body(body);
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Response::from_parts(parts, Body::from(body))
}

/// Sends headers and half of the body immediately, and the other half after a delay.
async fn delay_body(response: Response, seconds: f64) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return close_connection(StatusCode::OK.into_response());
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

/// Declares the full length, sends half of the body and closes the socket.
pub(crate) async fn truncate(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return close_connection(StatusCode::OK.into_response());
    };
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let half: Result<Bytes, std::io::Error> = Ok(body.slice(..body.len() / 2));
    // The pause lets hyper flush the first half before it sees the error.
    let broken = stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(std::io::Error::new(
            std::io::ErrorKind::ConnectionReset,
            "closed by a fault",
        ))
    });
    let body = Body::from_stream(stream::iter([half]).chain(broken));
    Response::from_parts(parts, body)
}
