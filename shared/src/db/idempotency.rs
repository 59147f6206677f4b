//! Stored responses to requests with an `Idempotency-Key`, returned when a request is repeated.
//!
//! The response is stored in the transaction of the request. The primary key decides between two
//! concurrent requests: one is rolled back and returns the response of the other.

use serde_json::Value;

use super::{DbError, Json, TenantScope, Tx};

/// The response to a key's first request.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResponse {
    /// SHA-256 of the first request, to detect a different request with the same key.
    pub request_hash: Vec<u8>,
    /// The HTTP status.
    pub status: i16,
    /// The body.
    pub response: Value,
}

/// Returns the response to the key's first request, if there was one.
pub async fn find(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &str,
) -> Result<Option<StoredResponse>, DbError> {
    let row = sqlx::query_as::<_, (Vec<u8>, i16, Json<Value>)>(
        "SELECT request_hash, status, response FROM idempotency_keys \
         WHERE tenant_id = $1 AND key = $2",
    )
    .bind(scope.tenant_id())
    .bind(key)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(
        row.map(|(request_hash, status, Json(response))| StoredResponse {
            request_hash,
            status,
            response,
        }),
    )
}

/// Stores a response; `false` if another request was faster and the caller must roll back.
pub async fn store(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &str,
    response: &StoredResponse,
) -> Result<bool, DbError> {
    let result = sqlx::query(
        "INSERT INTO idempotency_keys (tenant_id, key, request_hash, status, response) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(scope.tenant_id())
    .bind(key)
    .bind(&response.request_hash)
    .bind(response.status)
    .bind(Json(&response.response))
    .execute(&mut **tx)
    .await?;
    Ok(result.rows_affected() == 1)
}
