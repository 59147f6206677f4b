//! What happens to every request and every answer.

use std::any::Any;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::error::ApiError;

/// The most bytes of a body.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;

/// How long a handler may take to begin its answer; a stream then goes on as it likes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const CONTENT_SECURITY_POLICY: HeaderName = HeaderName::from_static("content-security-policy");

/// Gives up on a handler that takes too long.
pub(crate) async fn limit_time(request: Request, next: Next) -> Response {
    match timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::TimedOut.into_response(),
    }
}

/// Answers for a handler that panicked; the panic itself is logged where it happens.
pub(crate) fn answer_panic(_: Box<dyn Any + Send + 'static>) -> Response {
    ApiError::Panicked.into_response()
}

/// The problem for a page that is not there or whose name is no text, of which Swagger UI says
/// less.
pub(crate) async fn tell_what_is_missing(response: Response) -> Response {
    match response.status() {
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => ApiError::NoRoute.into_response(),
        _ => response,
    }
}

/// Headers that keep browsers from doing more with an answer than they should; the server adds
/// those that every process has.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let page = request.uri().path().starts_with("/docs");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = if page {
        // Swagger UI styles its elements directly and draws its icons from data URLs.
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    } else {
        "default-src 'none'; frame-ancestors 'none'"
    };
    // A page of ours may have one of its own.
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(policy));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    if !page {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
