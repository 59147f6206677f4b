//! Unreadable rows of polled lists, stored as failed deliveries.

use sqlx::Row;

use crate::connectors::UnreadableRow;
use crate::crypto::sha256;
use crate::db::{DbError, TenantScope, Tx, sanitize};
use crate::model::{ConnectionId, DeliveryId};

/// The maximum number of bytes of a row that are kept.
const MAX_ROW_BYTES: usize = 64 * 1024;
/// The maximum number of rows of a connection that are kept per day; others are only counted.
const MAX_ROWS_PER_DAY: i64 = 100;

/// The source of polled rows.
#[derive(Debug, Clone, Copy)]
pub struct PollSource<'a> {
    /// The polled connection.
    pub connection: ConnectionId,
    /// The provider's slug.
    pub provider: &'a str,
    /// The provider's account.
    pub account_id: &'a str,
    /// The stream's key.
    pub stream: &'a str,
}

/// Stores unreadable rows, each only once, and returns how many are new.
pub async fn keep_unreadable(
    tx: &mut Tx,
    scope: &TenantScope,
    source: &PollSource<'_>,
    rows: &[UnreadableRow],
) -> Result<u64, DbError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let stream_type = source.stream.split(':').next().unwrap_or_default();
    let ids: Vec<DeliveryId> = rows.iter().map(|_| DeliveryId::generate()).collect();
    let count: i64 = sqlx::query(
        "WITH input AS ( \
             SELECT DISTINCT ON (i.dedupe_id) i.* \
             FROM unnest($4::uuid[], $5::timestamptz[], $6::text[], $7::bytea[], $8::text[]) \
                 WITH ORDINALITY AS i(id, received_at, dedupe_id, body, reason, ord) \
             ORDER BY i.dedupe_id, i.ord \
         ), new_rows AS ( \
             INSERT INTO delivery_dedup (tenant_id, provider, dedupe_id, received_at) \
             SELECT $1, $3, dedupe_id, received_at FROM input ORDER BY dedupe_id \
             ON CONFLICT DO NOTHING RETURNING dedupe_id \
         ), room AS ( \
             SELECT greatest($11 - count(*), 0) AS rows FROM deliveries \
             WHERE tenant_id = $1 AND connection_id = $2 AND source = 'poll' \
               AND received_at > now() - interval '1 day' \
         ), kept AS ( \
             INSERT INTO deliveries (tenant_id, received_at, id, connection_id, provider, \
                 account_id, dedupe_id, event, headers, body, outcome, outcome_detail, \
                 processed_at, source) \
             SELECT $1, i.received_at, i.id, $2, $3, $9, i.dedupe_id, $10, '{}', i.body, \
                 'failed', i.reason, now(), 'poll' \
             FROM input i JOIN new_rows n USING (dedupe_id) \
             ORDER BY i.ord LIMIT (SELECT rows FROM room) \
         ) \
         SELECT count(*) FROM new_rows",
    )
    .bind(scope.tenant_id())
    .bind(source.connection)
    .bind(source.provider)
    .bind(&ids)
    .bind(ids.iter().map(|id| id.received_at()).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|row| dedupe_id(source, &row.row))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|row| truncate(&row.row))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|row| sanitize(&row.reason))
            .collect::<Vec<_>>(),
    )
    .bind(source.account_id)
    .bind(format!("poll.{stream_type}"))
    .bind(MAX_ROWS_PER_DAY)
    .fetch_one(&mut **tx)
    .await?
    .try_get(0)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The identity of a row: connection, stream and content.
fn dedupe_id(source: &PollSource<'_>, row: &str) -> String {
    let digest = hex::encode(&sha256(row.as_bytes())[..16]);
    format!("poll:{}:{}:{digest}", source.connection, source.stream)
}

fn truncate(row: &str) -> &[u8] {
    let end = row.floor_char_boundary(MAX_ROW_BYTES);
    row.as_bytes().get(..end).unwrap_or_default()
}
