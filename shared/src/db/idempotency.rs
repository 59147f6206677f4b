//! Stored responses to requests with an `Idempotency-Key`, returned when a request is repeated.
//!
//! A response is stored in the transaction of its request. [`begin`] locks the key until that
//! transaction ends, so a concurrent repeat waits and then finds the response. A response that
//! shows a secret is not stored, only the id of the object. Keys of operators and of the tenant's own
//! keys are separate; those of requests of operators without a tenant are under the nil tenant.

use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, ColumnTrait, QueryFilter};
use serde_json::Value;
use uuid::Uuid;

use super::entities::idempotency_keys::{ActiveModel, Column, Entity};
use super::orm::Scoped;
use super::{DbError, Json, TenantScope, Tx};

/// A request with a key.
#[derive(Debug, Clone, Copy)]
pub struct KeyedRequest<'k> {
    /// The key.
    pub key: &'k str,
    /// Whether an operator sends it.
    pub is_operator: bool,
    /// SHA-256 of the request, to detect a different request with the same key.
    pub hash: [u8; 32],
}

/// The first request with a key.
#[derive(Debug, Clone, PartialEq)]
pub enum FirstRequest {
    /// A different request.
    Different,
    /// The same request, and the response to it.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The body.
        response: Value,
    },
    /// The same request, whose response showed a secret.
    SecretShown {
        /// The object that it created.
        object_id: Uuid,
    },
}

/// Locks the key until the transaction ends; returns its first request, if there was one.
pub async fn begin(
    tx: &mut Tx,
    scope: &TenantScope,
    request: KeyedRequest<'_>,
) -> Result<Option<FirstRequest>, DbError> {
    let (tenant, is_operator) = (scope.tenant_id(), request.is_operator);
    let name = format!("idempotency:{tenant}:{is_operator}:{}", request.key);
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(name)
        .execute(&mut **tx)
        .await?;
    let stored = Entity::scoped(scope)
        .filter(Column::IsOperator.eq(is_operator))
        .filter(Column::Key.eq(request.key));
    let Some(row) = stored.one(&tx.orm()).await? else {
        return Ok(None);
    };
    if row.request_hash != request.hash {
        return Ok(Some(FirstRequest::Different));
    }
    let first = match (row.response, row.object_id) {
        (Some(response), None) => FirstRequest::Answered {
            status: row
                .status
                .and_then(|status| u16::try_from(status).ok())
                .ok_or(DbError::Corrupt("the status of a stored response"))?,
            response: response.0,
        },
        (None, Some(object_id)) => FirstRequest::SecretShown { object_id },
        _ => return Err(DbError::Corrupt("a stored response")),
    };
    Ok(Some(first))
}

/// Stores the response to a key's first request, after [`begin`] in the same transaction.
pub async fn store_response(
    tx: &mut Tx,
    scope: &TenantScope,
    request: KeyedRequest<'_>,
    status: u16,
    response: Value,
) -> Result<(), DbError> {
    let status = i16::try_from(status).map_err(|_| DbError::Corrupt("an HTTP status"))?;
    let row = ActiveModel {
        status: Set(Some(status)),
        response: Set(Some(Json(response))),
        ..row(scope, request)
    };
    row.insert(&tx.orm()).await?;
    Ok(())
}

/// Stores the object of a key's first request, whose response shows a secret.
pub async fn store_object(
    tx: &mut Tx,
    scope: &TenantScope,
    request: KeyedRequest<'_>,
    object_id: Uuid,
) -> Result<(), DbError> {
    let row = ActiveModel {
        object_id: Set(Some(object_id)),
        ..row(scope, request)
    };
    row.insert(&tx.orm()).await?;
    Ok(())
}

fn row(scope: &TenantScope, request: KeyedRequest<'_>) -> ActiveModel {
    ActiveModel {
        tenant_id: Set(scope.tenant_id()),
        is_operator: Set(request.is_operator),
        key: Set(request.key.to_owned()),
        request_hash: Set(request.hash.to_vec()),
        ..Default::default()
    }
}
