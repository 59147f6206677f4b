//! The running transactions, which hold back the feed's watermark.

use super::{Db, DbError};
use crate::model::WorkerId;

/// The range of running transaction ids.
#[derive(Debug, Clone, Copy)]
pub struct TransactionSnapshot {
    /// The oldest running transaction: the feed's watermark.
    pub oldest_running: u64,
    /// The next transaction id that will be assigned.
    pub next: u64,
}

/// Returns the current range of running transaction ids.
pub async fn snapshot(db: &Db) -> Result<TransactionSnapshot, DbError> {
    let (oldest_running, next): (String, String) = sqlx::query_as(
        "SELECT pg_snapshot_xmin(s)::text, pg_snapshot_xmax(s)::text FROM pg_current_snapshot() s",
    )
    .fetch_one(db)
    .await?;
    let parse = |text: String| {
        text.parse()
            .map_err(|_| DbError::Corrupt("a transaction id is not a number"))
    };
    Ok(TransactionSnapshot {
        oldest_running: parse(oldest_running)?,
        next: parse(next)?,
    })
}

/// Stores how far a worker has measured the feed's watermark to be behind, for operators.
pub async fn record_lag(db: &Db, worker: WorkerId, seconds: f64) -> Result<(), DbError> {
    sqlx::query("UPDATE workers SET feed_lag_seconds = $2 WHERE id = $1")
        .bind(worker)
        .bind(seconds)
        .execute(db)
        .await?;
    Ok(())
}
