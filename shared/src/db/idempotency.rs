//! Answers that are given again when a request comes again with its `Idempotency-Key`.
//!
//! The answer is written in the transaction that does the work, and the primary key lets
//! one of two concurrent requests win: the loser rolls its own work back and gives the
//! winner's answer.

use serde_json::Value;

use super::{DbError, Json, TenantScope, Tx};

/// The answer that was given to a key's first request.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAnswer {
    /// SHA-256 of the first request: another one under the same key is a mistake.
    pub request_hash: Vec<u8>,
    /// The HTTP status.
    pub status: i16,
    /// The body.
    pub response: Value,
}

/// The answer to the key's first request, if there was one.
pub async fn find(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &str,
) -> Result<Option<StoredAnswer>, DbError> {
    let row = sqlx::query_as::<_, (Vec<u8>, i16, Json<Value>)>(
        "SELECT request_hash, status, response FROM idempotency_keys \
         WHERE tenant_id = $1 AND key = $2",
    )
    .bind(scope.tenant_id())
    .bind(key)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(
        row.map(|(request_hash, status, Json(response))| StoredAnswer {
            request_hash,
            status,
            response,
        }),
    )
}

/// Keeps an answer. False when another request was faster; then the caller rolls back.
pub async fn store(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &str,
    answer: &StoredAnswer,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO idempotency_keys (tenant_id, key, request_hash, status, response) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(scope.tenant_id())
    .bind(key)
    .bind(&answer.request_hash)
    .bind(answer.status)
    .bind(Json(&answer.response))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
