//! Directories: the names of a connection's people, channels and statuses.

use super::{DbError, Json, TenantScope, Tx, sanitize, sanitize_json};
use crate::model::{ConnectionId, DirectoryEntry, DirectoryKey, DirectoryKind};

/// The time for which a name is cached.
///
/// A rename that the provider reports is stored immediately.
const NAME_TTL_SECONDS: f64 = 24.0 * 3600.0;
/// The time for which the absence of a name is cached.
const MISSING_NAME_TTL_SECONDS: f64 = 600.0;
/// Maximum number of entries that a sync loads at its start.
const MAX_LOADED_ENTRIES: i64 = 20_000;

#[derive(sqlx::FromRow)]
struct Row {
    kind: String,
    external_id: String,
    name: Option<String>,
    detail: Json<serde_json::Value>,
}

impl Row {
    /// Converts a row; `None` for a kind that this release does not know.
    fn into_entry(self) -> Option<DirectoryEntry> {
        let kind: DirectoryKind = self.kind.parse().ok()?;
        Some(DirectoryEntry {
            key: DirectoryKey::new(kind, self.external_id),
            name: self.name,
            detail: self.detail.0,
        })
    }
}

/// Loads the entries with these keys that are stored and have not expired.
pub async fn load(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    keys: &[DirectoryKey],
) -> Result<Vec<DirectoryEntry>, DbError> {
    let kinds: Vec<&'static str> = keys.iter().map(|key| key.kind.into()).collect();
    let ids: Vec<_> = keys.iter().map(|key| sanitize(&key.id)).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT e.kind, e.external_id, e.name, e.detail \
         FROM unnest($3::text[], $4::text[]) AS k(kind, external_id) \
         JOIN directory_entries e ON e.tenant_id = $1 AND e.connection_id = $2 \
             AND e.kind = k.kind AND e.external_id = k.external_id \
         WHERE e.expires_at > now()",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(kinds)
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().filter_map(Row::into_entry).collect())
}

/// Loads all entries of a connection, up to `MAX_LOADED_ENTRIES`.
pub async fn load_all(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<Vec<DirectoryEntry>, DbError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT kind, external_id, name, detail FROM directory_entries \
         WHERE tenant_id = $1 AND connection_id = $2 AND expires_at > now() LIMIT $3",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(MAX_LOADED_ENTRIES)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().filter_map(Row::into_entry).collect())
}

/// Inserts or replaces entries, in key order to avoid deadlocks between writers.
pub async fn save(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    entries: &[DirectoryEntry],
) -> Result<(), DbError> {
    // The later of two entries with the same key wins. Postgres cannot store an id with NUL.
    let entries: std::collections::BTreeMap<_, _> = entries
        .iter()
        .filter(|entry| !entry.key.id.contains('\0'))
        .map(|entry| (&entry.key, entry))
        .collect();
    if entries.is_empty() {
        return Ok(());
    }
    let (keys, entries): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    let kinds: Vec<&'static str> = keys.iter().map(|key| key.kind.into()).collect();
    sqlx::query(
        "INSERT INTO directory_entries \
             (tenant_id, connection_id, kind, external_id, name, detail, expires_at) \
         SELECT $1, $2, e.kind, e.external_id, e.name, e.detail::json, \
             now() + CASE WHEN e.name IS NULL THEN $8 ELSE $7 END * interval '1 second' \
         FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) \
             AS e(kind, external_id, name, detail) \
         ON CONFLICT (tenant_id, connection_id, kind, external_id) DO UPDATE SET \
             name = excluded.name, detail = excluded.detail, expires_at = excluded.expires_at",
    )
    .bind(scope.tenant_id())
    .bind(connection)
    .bind(kinds)
    .bind(keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>())
    .bind(
        entries
            .iter()
            .map(|e| e.name.as_deref().map(sanitize))
            .collect::<Vec<_>>(),
    )
    .bind(
        entries
            .iter()
            .map(|e| sanitize_json(&e.detail.to_string()).into_owned())
            .collect::<Vec<_>>(),
    )
    .bind(NAME_TTL_SECONDS)
    .bind(MISSING_NAME_TTL_SECONDS)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes all entries of a connection.
pub(super) async fn erase(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM directory_entries WHERE tenant_id = $1 AND connection_id = $2")
        .bind(scope.tenant_id())
        .bind(connection)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
