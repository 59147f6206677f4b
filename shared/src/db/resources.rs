//! Resources of a connection: the provider's objects that its streams belong to.

use std::borrow::Cow;
use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::entities::cursors::{Column, Entity};
use super::orm::Scoped;
use super::{DbError, Json, TenantScope, Tx, cursors, sanitize, sanitize_all};
use crate::model::{ConnectionId, Resource, StreamSpec};

/// Retires the streams of resources to which the connection has lost access.
pub async fn retire(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    resources: &[String],
) -> Result<(), DbError> {
    let resources = sanitize_all(resources).into_iter().map(Cow::into_owned);
    cursors::retire(scope, connection, "access removed")
        .filter(Column::ResourceId.eq_any(resources))
        .exec(&tx.orm())
        .await?;
    Ok(())
}

/// Changes the id of a resource in its streams, which keep their cursors.
///
/// Streams that a run has already created under the new id are deleted.
pub async fn change_id(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    from: &str,
    to: &str,
) -> Result<(), DbError> {
    let (version, listed_at): (i64, Option<DateTime<Utc>>) = sqlx::query_as(
        "WITH duplicates AS ( \
             DELETE FROM cursors n USING cursors o \
             WHERE n.tenant_id = $1 AND n.connection_id = $2 AND n.resource_id = $4 \
               AND o.tenant_id = $1 AND o.connection_id = $2 AND o.resource_id = $3 \
               AND split_part(n.stream, ':', 1) = split_part(o.stream, ':', 1) \
             RETURNING n.version, n.listed_at \
         ) \
         SELECT coalesce(max(version), 0), max(listed_at) FROM duplicates",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(sanitize(from))
    .bind(sanitize(to))
    .fetch_one(&mut **tx)
    .await?;
    // Pages read at either version must not be committed. Streams that the current pass of the root
    // stream has listed under the new id stay listed.
    sqlx::query(
        "UPDATE cursors SET stream = split_part(stream, ':', 1) || ':' || $4, resource_id = $4, \
             version = greatest(version, $5) + 1, listed_at = greatest(listed_at, $6), \
             retired_at = NULL, retired_reason = NULL, updated_at = now() \
         WHERE tenant_id = $1 AND connection_id = $2 AND resource_id = $3 \
           AND stream = split_part(stream, ':', 1) || ':' || $3",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(sanitize(from))
    .bind(sanitize(to))
    .bind(version)
    .bind(listed_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Returns the resources of which the connection has no stream.
pub async fn filter_unknown(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    mut resources: Vec<Resource>,
) -> Result<Vec<Resource>, DbError> {
    let ids: Vec<_> = resources
        .iter()
        .map(|resource| sanitize(&resource.id))
        .collect();
    let unknown: HashSet<String> = sqlx::query_scalar(
        "SELECT k.id FROM unnest($3::text[]) AS k(id) WHERE NOT EXISTS ( \
             SELECT FROM cursors c WHERE c.tenant_id = $1 AND c.connection_id = $2 \
               AND c.resource_id = k.id)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .collect();
    resources.retain(|resource| unknown.contains(&*sanitize(&resource.id)));
    Ok(resources)
}

/// Lists the resources that the connection has read and whose id may change.
pub async fn list_known(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<Vec<Resource>, DbError> {
    let rows: Vec<(String, Option<String>, Json<Value>)> = Entity::scoped(scope)
        .select_only()
        .columns([Column::Stream, Column::ResourceId, Column::Target])
        .filter(Column::ConnectionId.eq(connection))
        .filter(Column::RetiredAt.is_null())
        .filter(Column::ReadThrough.is_not_null())
        .order_by_asc(Column::ResourceId)
        .into_tuple()
        .all(&tx.orm())
        .await?;
    let streams = rows
        .into_iter()
        .map(|(key, resource_id, target)| StreamSpec {
            key,
            resource_id,
            target: target.0,
        });
    let mut resources: Vec<Resource> = streams
        .filter_map(|stream| Resource::of_stream(&stream))
        .collect();
    // A resource may have several streams.
    resources.dedup();
    Ok(resources)
}
