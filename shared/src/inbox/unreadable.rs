//! Rows of lists that could not be read, kept where operators look at failed deliveries.

use sqlx::Row;

use crate::connectors::UnreadableRow;
use crate::crypto::sha256;
use crate::db::{DbError, TenantScope, Tx, storable};
use crate::ids::{ConnectionId, DeliveryId};

/// How much of a row is kept.
const MAX_ROW_BYTES: usize = 64 * 1024;
/// How many rows of a connection are kept per day. Others are counted only.
const MAX_ROWS_PER_DAY: i64 = 100;

/// The list that rows were read from.
#[derive(Debug, Clone, Copy)]
pub struct ReadFrom<'a> {
    /// The connection that the list was read for.
    pub connection: ConnectionId,
    /// The provider's slug.
    pub provider: &'a str,
    /// The provider's account.
    pub account_id: &'a str,
    /// The stream.
    pub stream: &'a str,
}

/// Keeps rows that could not be read, each once however often it is read. Answers how many are
/// new.
pub async fn keep_unreadable(
    tx: &mut Tx,
    scope: &TenantScope,
    from: &ReadFrom<'_>,
    rows: &[UnreadableRow],
) -> Result<u64, DbError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let stream_type = from.stream.split(':').next().unwrap_or_default();
    let ids: Vec<DeliveryId> = rows.iter().map(|_| DeliveryId::generate()).collect();
    let new: i64 = sqlx::query(
        "WITH input AS ( \
             SELECT DISTINCT ON (i.dedupe_id) i.* \
             FROM unnest($4::uuid[], $5::timestamptz[], $6::text[], $7::bytea[], $8::text[]) \
                 WITH ORDINALITY AS i(id, received_at, dedupe_id, body, reason, ord) \
             ORDER BY i.dedupe_id, i.ord \
         ), fresh AS ( \
             INSERT INTO delivery_ledger (tenant_id, provider, dedupe_id, received_at) \
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
             FROM input i JOIN fresh f USING (dedupe_id) \
             ORDER BY i.ord LIMIT (SELECT rows FROM room) \
         ) \
         SELECT count(*) FROM fresh",
    )
    .bind(scope.tenant_id())
    .bind(from.connection)
    .bind(from.provider)
    .bind(&ids)
    .bind(ids.iter().map(|id| id.received_at()).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|row| dedupe_id(from, &row.row))
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|row| kept(&row.row)).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|row| storable(&row.reason))
            .collect::<Vec<_>>(),
    )
    .bind(from.account_id)
    .bind(format!("poll.{stream_type}"))
    .bind(MAX_ROWS_PER_DAY)
    .fetch_one(&mut **tx)
    .await?
    .try_get(0)?;
    Ok(u64::try_from(new).unwrap_or(0))
}

/// The same row of the same list has the same id, whenever it is read.
fn dedupe_id(from: &ReadFrom<'_>, row: &str) -> String {
    let digest = hex::encode(&sha256(row.as_bytes())[..16]);
    format!("poll:{}:{}:{digest}", from.connection, from.stream)
}

fn kept(row: &str) -> &[u8] {
    let end = row.floor_char_boundary(MAX_ROW_BYTES);
    row.as_bytes().get(..end).unwrap_or_default()
}
