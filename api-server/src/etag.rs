//! `ETag` and `If-None-Match` (RFC 9110, section 13): an unchanged response costs no transfer.
//!
//! The tag is a hash of the content, so the response is computed either way. It is weak, because a
//! compressed response has the same one.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::crypto::sha256;

use crate::error::ApiError;

/// The bytes of the hash in a tag.
const TAG_BYTES: usize = 16;

/// Middleware that adds an `ETag` to JSON, or responds with 304 if the client has it.
pub(crate) async fn add_etag(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let mut known = HeaderMap::new();
    for value in request.headers().get_all(IF_NONE_MATCH) {
        known.append(IF_NONE_MATCH, value.clone());
    }
    let response = next.run(request).await;
    if !is_get || !is_whole_json(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return ApiError::Panicked.into_response();
    };
    let tag = URL_SAFE_NO_PAD.encode(&sha256(&bytes)[..TAG_BYTES]);
    if let Ok(value) = HeaderValue::from_str(&format!("W/\"{tag}\"")) {
        parts.headers.insert(ETAG, value);
        // A client may keep the response, and has to ask before it uses it.
        let private = HeaderValue::from_static("private, no-cache");
        parts.headers.insert(CACHE_CONTROL, private);
    }
    if has_tag(&known, &tag) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(CONTENT_TYPE);
        parts.headers.remove(CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Whether the response is JSON of a known length, so not a stream.
fn is_whole_json(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    response.status() == StatusCode::OK
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
        && response.body().size_hint().exact().is_some()
}

/// Whether `If-None-Match` names the tag; the comparison is weak.
fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|item| {
        let item = item.trim();
        let opaque = item.strip_prefix("W/").unwrap_or(item);
        item == "*" || opaque.strip_prefix('"').and_then(|t| t.strip_suffix('"')) == Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_NONE_MATCH, HeaderValue::from_static(value));
            }
            has_tag(&headers, "abc")
        };
        for matching in [
            &["W/\"abc\""][..],
            &["\"abc\""],
            &["*"],
            &["\"x\", W/\"abc\""],
            &["\"x\"", "\"abc\""],
        ] {
            assert!(with(matching), "{matching:?}");
        }
        for other in [
            &[][..],
            &["abc"],
            &["W/\"abcd\""],
            &["\"\""],
            &["w/\"abc\""],
        ] {
            assert!(!with(other), "{other:?}");
        }
    }
}
