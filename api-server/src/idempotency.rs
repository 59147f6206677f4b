//! The `Idempotency-Key` of a request that creates something.
//!
//! A handler calls [`Idempotency::replay`] first in its transaction, and one of the `keep` functions
//! before the commit. A failed request keeps nothing, so its repeat is executed.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use shared::crypto::sha256;
use shared::db::idempotency::{self, FirstRequest, KeyedRequest};
use shared::db::{TenantScope, Tx};
use uuid::Uuid;

use crate::auth::Principal;
use crate::error::ApiError;
use crate::extract::{optional_header, read_body};
use crate::state::AppState;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of a response that repeats the response to the key's first request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// SHA-256 of a request with a key: of method, path, query and body.
#[derive(Debug, Clone, Copy)]
struct RequestHash([u8; 32]);

/// The key of the request, if it has one.
#[derive(Debug)]
pub(crate) struct Idempotency(Option<Key>);

#[derive(Debug)]
struct Key {
    text: String,
    hash: [u8; 32],
}

impl Key {
    fn request(&self, principal: &Principal) -> KeyedRequest<'_> {
        KeyedRequest {
            key: &self.text,
            is_operator: principal.is_operator(),
            hash: self.hash,
        }
    }
}

impl FromRequestParts<Arc<AppState>> for Idempotency {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<AppState>) -> Result<Self, ApiError> {
        let is_valid = |text: &str| {
            (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let expected = "1 to 255 visible characters";
        let text = optional_header(&parts.headers, &IDEMPOTENCY_KEY, expected, is_valid)?;
        let hash = parts.extensions.get::<RequestHash>().copied();
        Ok(Self(
            text.zip(hash)
                .map(|(text, RequestHash(hash))| Key { text, hash }),
        ))
    }
}

impl Idempotency {
    /// Returns the response to the first request with this key, if there was one.
    ///
    /// A concurrent request with this key waits here until this transaction ends.
    pub(crate) async fn replay(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        principal: &Principal,
    ) -> Result<Option<Response>, ApiError> {
        let Some(key) = &self.0 else {
            return Ok(None);
        };
        match idempotency::begin(tx, scope, key.request(principal)).await? {
            None => Ok(None),
            Some(FirstRequest::Different) => Err(ApiError::IdempotencyKeyReused),
            Some(FirstRequest::SecretShown { object_id }) => {
                Err(ApiError::SecretAlreadyShown { id: object_id })
            }
            Some(FirstRequest::Answered { status, response }) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                Ok(Some(
                    (status, [(REPLAYED, "true")], Json(response)).into_response(),
                ))
            }
        }
    }

    /// Keeps the response, which contains no secret.
    pub(crate) async fn keep<T: Serialize>(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        principal: &Principal,
        (status, response): (StatusCode, &T),
    ) -> Result<(), ApiError> {
        if let Some(key) = &self.0 {
            let response = serde_json::to_value(response).map_err(ApiError::Codec)?;
            let request = key.request(principal);
            idempotency::store_response(tx, scope, request, status.as_u16(), response).await?;
        }
        Ok(())
    }

    /// Keeps the id of the created object, because the response shows a secret.
    pub(crate) async fn keep_object(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
        principal: &Principal,
        object: Uuid,
    ) -> Result<(), ApiError> {
        if let Some(key) = &self.0 {
            idempotency::store_object(tx, scope, key.request(principal), object).await?;
        }
        Ok(())
    }
}

/// Middleware that hashes requests with an `Idempotency-Key`.
pub(crate) async fn hash_request(request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let bytes = match read_body(Request::from_parts(parts.clone(), body), &()).await {
        Ok(bytes) => bytes,
        Err(error) => return error.into_response(),
    };
    let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut text = format!("{} {target}\n", parts.method).into_bytes();
    text.extend(canonical(&bytes));
    parts.extensions.insert(RequestHash(sha256(&text)));
    next.run(Request::from_parts(parts, Body::from(bytes)))
        .await
}

/// The body in a form in which white space and the order of fields make no difference.
fn canonical(body: &[u8]) -> Vec<u8> {
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Null) => b"{}".to_vec(),
        Ok(value) => serde_json::to_vec(&value).unwrap_or_default(),
        Err(_) if body.trim_ascii().is_empty() => b"{}".to_vec(),
        Err(_) => body.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bodies_have_one_form() {
        for (one, other) in [
            (&b""[..], &b"{}"[..]),
            (b"null", b"{ }"),
            (br#"{"a":1,"b":[2]}"#, b"{ \"b\": [2],\n \"a\": 1 }"),
        ] {
            assert_eq!(canonical(one), canonical(other));
        }
        assert_ne!(canonical(br#"{"a":1}"#), canonical(br#"{"a":2}"#));
        assert_ne!(canonical(b"{"), canonical(b"["));
    }
}
