//! The header `Idempotency-Key`: a repeated request gets the response to the first one.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use shared::crypto::sha256;
use shared::db::idempotency::{self, StoredResponse};
use shared::db::{TenantScope, Tx};

use crate::error::{ApiError, Conflict};
use crate::extract::optional_header;
use crate::state::AppState;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of a response that repeats the response to the key's first request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A request with or without an `Idempotency-Key`.
pub(crate) struct Idempotent {
    key: Option<String>,
    request_hash: [u8; 32],
}

impl Idempotent {
    /// Reads the header; `request` is the request in a form that differs for different requests.
    pub(crate) fn read(headers: &HeaderMap, request: &str) -> Result<Self, ApiError> {
        let is_valid = |text: &str| {
            (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let expected = "1 to 255 visible characters";
        Ok(Self {
            key: optional_header(headers, &IDEMPOTENCY_KEY, expected, is_valid)?,
            request_hash: sha256(request.as_bytes()),
        })
    }

    /// Returns the response to the key's first request, if there was one with the same content.
    pub(crate) async fn find(
        &self,
        tx: &mut Tx,
        scope: &TenantScope,
    ) -> Result<Option<Response>, ApiError> {
        let Some(key) = &self.key else {
            return Ok(None);
        };
        let Some(first) = idempotency::find(tx, scope, key).await? else {
            return Ok(None);
        };
        if first.request_hash != self.request_hash {
            return Err(Conflict::IdempotencyKeyReused.into());
        }
        let status = u16::try_from(first.status)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
            .unwrap_or(StatusCode::ACCEPTED);
        let body: Json<Value> = Json(first.response);
        Ok(Some((status, [(REPLAYED, "true")], body).into_response()))
    }

    /// Stores the response 202 and commits.
    ///
    /// If a concurrent request with the key was faster, the transaction is rolled back, and the
    /// response is that of the other request.
    pub(crate) async fn accept(
        &self,
        state: &AppState,
        mut tx: Tx,
        scope: &TenantScope,
        response: &(impl Serialize + Sync),
    ) -> Result<Response, ApiError> {
        if let Some(key) = &self.key {
            let stored = StoredResponse {
                request_hash: self.request_hash.to_vec(),
                status: 202,
                response: serde_json::to_value(response).map_err(ApiError::Codec)?,
            };
            if !idempotency::store(&mut tx, scope, key, &stored).await? {
                tx.rollback().await?;
                let mut tx = state.db.begin(scope).await?;
                let response = self.find(&mut tx, scope).await?;
                return response.ok_or_else(|| Conflict::IdempotencyKeyReused.into());
            }
        }
        tx.commit().await?;
        state.notifier.notify();
        Ok((StatusCode::ACCEPTED, Json(response)).into_response())
    }
}
