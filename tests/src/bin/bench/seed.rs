//! Bulk inserts in small transactions, with ids in the order of time as in production.

use std::ops::Range;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use sqlx::PgPool;
use uuid::Uuid;

/// Rows per transaction.
pub(crate) const CHUNK: u32 = 1000;
/// Concurrent transactions.
const WRITERS: usize = 2;

/// Inserts a row for each number.
///
/// The statement's parameters are the tenant, and the ids and numbers of a chunk's rows.
pub(crate) async fn seed(
    pool: &PgPool,
    what: &str,
    statement: &'static str,
    tenant: Uuid,
    numbers: Range<u32>,
) -> anyhow::Result<()> {
    let (started, rows) = (Instant::now(), numbers.len());
    eprintln!("  writing {rows} {what}");
    let end = numbers.end;
    let mut chunks = stream::iter(numbers.step_by(usize::try_from(CHUNK)?))
        .map(|first| {
            let chunk = first..end.min(first.saturating_add(CHUNK));
            let ids: Vec<Uuid> = chunk.clone().map(|_| Uuid::now_v7()).collect();
            sqlx::query(statement)
                .bind(tenant)
                .bind(ids)
                .bind(chunk.map(i64::from).collect::<Vec<_>>())
                .execute(pool)
        })
        .buffer_unordered(WRITERS);
    let (mut written, mut reported) = (0, 0);
    while let Some(done) = chunks.try_next().await? {
        written += usize::try_from(done.rows_affected())?;
        let tenths = written * 10 / rows;
        if tenths > reported && rows >= 1_000_000 {
            reported = tenths;
            eprintln!("  {written} {what} after {:?}", started.elapsed());
        }
    }
    Ok(())
}
