//! Stored responses to requests with an `Idempotency-Key`, returned when a request is repeated.
//!
//! The response is stored in the transaction of the request. The primary key decides between two
//! concurrent requests: one is rolled back and returns the response of the other.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::Value;

use super::entities::idempotency_keys::{ActiveModel, Column, Entity};
use super::orm::Scoped;
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
    let stored = Entity::scoped(scope).filter(Column::Key.eq(key));
    let row = stored.one(&tx.orm()).await?;
    Ok(row.map(|row| StoredResponse {
        request_hash: row.request_hash,
        status: row.status,
        response: row.response.0,
    }))
}

/// Stores a response; `false` if another request was faster and the caller must roll back.
pub async fn store(
    tx: &mut Tx,
    scope: &TenantScope,
    key: &str,
    response: &StoredResponse,
) -> Result<bool, DbError> {
    let row = ActiveModel {
        tenant_id: Set(scope.tenant_id()),
        key: Set(key.to_owned()),
        request_hash: Set(response.request_hash.clone()),
        status: Set(response.status),
        response: Set(Json(response.response.clone())),
        ..Default::default()
    };
    let inserted = Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(&tx.orm())
        .await?;
    Ok(inserted == 1)
}
