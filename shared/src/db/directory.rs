//! Directories: what a connection's people, channels and statuses are called.

use super::{DbError, Json, TenantScope, Tx, storable, storable_json};
use crate::connectors::{DirectoryEntry, DirectoryKey, DirectoryKind};
use crate::ids::ConnectionId;

/// How long a name is believed; a rename that is told comes at once.
const NAMED_SECONDS: f64 = 24.0 * 3600.0;
/// How long it is believed that there is no name.
const NAMELESS_SECONDS: f64 = 600.0;
/// Most entries that a sync begins with.
const MOST: i64 = 20_000;

#[derive(sqlx::FromRow)]
struct Row {
    kind: String,
    external_id: String,
    name: Option<String>,
    detail: Json<serde_json::Value>,
}

impl Row {
    /// An entry of a kind that this version does not know is none.
    fn entry(self) -> Option<DirectoryEntry> {
        let kind: DirectoryKind = self.kind.parse().ok()?;
        Some(DirectoryEntry {
            key: DirectoryKey::new(kind, self.external_id),
            name: self.name,
            detail: self.detail.0,
        })
    }
}

/// Those of these entries that are known.
pub async fn load(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    keys: &[DirectoryKey],
) -> Result<Vec<DirectoryEntry>, DbError> {
    let kinds: Vec<&'static str> = keys.iter().map(|key| key.kind.into()).collect();
    let ids: Vec<_> = keys.iter().map(|key| storable(&key.id)).collect();
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
    Ok(rows.into_iter().filter_map(Row::entry).collect())
}

/// What is known of a connection, up to a bound.
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
    .bind(MOST)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().filter_map(Row::entry).collect())
}

/// Writes entries over older ones. Rows go in by key order, so that two writers cannot wait
/// for each other in a circle.
pub async fn save(
    tx: &mut Tx,
    scope: &TenantScope,
    connection: ConnectionId,
    entries: &[DirectoryEntry],
) -> Result<(), DbError> {
    // Of two entries of one key, the later counts. An id that cannot be kept is nobody's.
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
            .map(|e| e.name.as_deref().map(storable))
            .collect::<Vec<_>>(),
    )
    .bind(
        entries
            .iter()
            .map(|e| storable_json(&e.detail.to_string()).into_owned())
            .collect::<Vec<_>>(),
    )
    .bind(NAMED_SECONDS)
    .bind(NAMELESS_SECONDS)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
