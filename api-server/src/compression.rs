//! Compression of responses with gzip or zstd.
//!
//! The length of a compressed response reveals whether a guess by its reader occurs next to a secret
//! (BREACH). So only routes that [`allow_compression`] marks are compressed: none of them shows a
//! secret in the response to a `GET`. Streams are never compressed, because an event must be sent at
//! once.

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, Predicate, SizeAbove};

/// The smallest body that is compressed; a smaller one fits into one packet anyway.
const MIN_BYTES: u64 = 860;

/// Marks a response as free of secrets.
#[derive(Debug, Clone, Copy)]
struct Compressible;

type IsCompressible = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// The layer that compresses marked responses.
pub(crate) fn layer() -> CompressionLayer<And<SizeAbove, IsCompressible>> {
    let is_marked: IsCompressible = is_compressible;
    CompressionLayer::new().compress_when(SizeAbove::new(MIN_BYTES).and(is_marked))
}

/// Middleware of routes whose responses to `GET` contain no secret.
pub(crate) async fn allow_compression(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let mut response = next.run(request).await;
    if is_get {
        response.extensions_mut().insert(Compressible);
    }
    response
}

fn is_compressible(
    status: StatusCode,
    _: Version,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> bool {
    let is_stream = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    // Errors may be replaced by pages.
    status.is_success() && !is_stream && extensions.get::<Compressible>().is_some()
}
