//! Resources of a connection: what its streams belong to.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{DbError, Json, TenantScope, Tx, storable, storable_all};
use crate::connectors::{Resource, StreamSpec};
use crate::ids::ConnectionId;

/// Stops reading the streams of resources that are no longer ours.
pub async fn retire(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    resources: &[String],
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE cursors SET retired_at = now(), retired_why = 'taken away' \
         WHERE tenant_id = $1 AND connection_id = $2 AND retired_at IS NULL \
           AND resource_id = ANY ($3)",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(storable_all(resources))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives the streams of a resource the id that the provider has given it; they keep their cursors.
/// What a run has begun under the new id meanwhile is dropped.
pub async fn change_id(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    from: &str,
    to: &str,
) -> Result<(), DbError> {
    let (version, listed_at): (i64, Option<DateTime<Utc>>) = sqlx::query_as(
        "WITH begun AS ( \
             DELETE FROM cursors n USING cursors o \
             WHERE n.tenant_id = $1 AND n.connection_id = $2 AND n.resource_id = $4 \
               AND o.tenant_id = $1 AND o.connection_id = $2 AND o.resource_id = $3 \
               AND split_part(n.stream, ':', 1) = split_part(o.stream, ':', 1) \
             RETURNING n.version, n.listed_at \
         ) \
         SELECT coalesce(max(version), 0), max(listed_at) FROM begun",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(storable(from))
    .bind(storable(to))
    .fetch_one(&mut **tx)
    .await?;
    // A page that was read over either version must not be committed, and what the present pass of
    // the root has listed under the new id stays listed.
    sqlx::query(
        "UPDATE cursors SET stream = split_part(stream, ':', 1) || ':' || $4, resource_id = $4, \
             version = greatest(version, $5) + 1, listed_at = greatest(listed_at, $6), \
             retired_at = NULL, retired_why = NULL, updated_at = now() \
         WHERE tenant_id = $1 AND connection_id = $2 AND resource_id = $3 \
           AND stream = split_part(stream, ':', 1) || ':' || $3",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(storable(from))
    .bind(storable(to))
    .bind(version)
    .bind(listed_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Those of these resources that the connection has no stream of.
pub async fn unknown(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    mut resources: Vec<Resource>,
) -> Result<Vec<Resource>, DbError> {
    let ids: Vec<_> = resources.iter().map(|one| storable(&one.id)).collect();
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
    resources.retain(|one| unknown.contains(&*storable(&one.id)));
    Ok(resources)
}

/// The resources that the connection has read and whose id may change.
pub async fn known(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<Vec<Resource>, DbError> {
    let rows: Vec<(String, Option<String>, Json<Value>)> = sqlx::query_as(
        "SELECT stream, resource_id, target FROM cursors \
         WHERE tenant_id = $1 AND connection_id = $2 AND retired_at IS NULL \
           AND read_through IS NOT NULL ORDER BY resource_id",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .fetch_all(&mut **tx)
    .await?;
    let streams = rows
        .into_iter()
        .map(|(key, resource_id, target)| StreamSpec {
            key,
            resource_id,
            target: target.0,
        });
    let mut known: Vec<Resource> = streams
        .filter_map(|stream| Resource::of_stream(&stream))
        .collect();
    // A resource may have several streams.
    known.dedup();
    Ok(known)
}
