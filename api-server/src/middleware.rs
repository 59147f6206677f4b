//! Middleware of every route: time limit, panic handling and security headers.

use std::any::Any;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::error::ApiError;

/// The maximum size of a request body.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// The time until a handler returns its response; a stream then continues without a limit.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const CONTENT_SECURITY_POLICY: HeaderName = HeaderName::from_static("content-security-policy");

/// Returns 503 if the handler exceeds the timeout.
pub(crate) async fn enforce_timeout(request: Request, next: Next) -> Response {
    match timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::TimedOut.into_response(),
    }
}

/// The response for a handler that panicked; the panic is logged where it happens.
pub(crate) fn handle_panic(_: Box<dyn Any + Send + 'static>) -> Response {
    ApiError::Panicked.into_response()
}

/// Replaces Swagger UI's plain errors for unknown and malformed paths by a problem.
pub(crate) async fn replace_docs_errors(response: Response) -> Response {
    match response.status() {
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => ApiError::NoRoute.into_response(),
        _ => response,
    }
}

/// Adds the security headers of the API; the server adds those that all processes share.
pub(crate) async fn add_security_headers(request: Request, next: Next) -> Response {
    let is_docs_page = request.uri().path().starts_with("/docs");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = if is_docs_page {
        // Swagger UI uses inline styles and icons from data URLs.
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    } else {
        "default-src 'none'; frame-ancestors 'none'"
    };
    // Pages of the connect flow set their own policy.
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(policy));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    if !is_docs_page {
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    response
}
