//! Statistics of the queue and of the feed's watermark, for the metrics.

use sqlx::Row;

use crate::db::{Db, DbError};
use crate::model::JobKind;

/// Queued and running jobs of one kind.
#[derive(Debug)]
pub struct QueueDepth {
    /// The kind.
    pub kind: JobKind,
    /// Queued jobs, including snoozed ones.
    pub queued: i64,
    /// Running jobs.
    pub running: i64,
    /// The waiting time of the oldest due job, in seconds.
    pub oldest_seconds: f64,
}

/// Returns the queue's depth and the age of its oldest due job, by kind.
pub async fn queue_depth(db: &Db) -> Result<Vec<QueueDepth>, DbError> {
    let rows = sqlx::query(
        "SELECT kind, count(*) FILTER (WHERE state = 'queued') AS queued, \
             count(*) FILTER (WHERE state = 'running') AS running, \
             coalesce(extract(epoch FROM now() - min(run_at) \
                 FILTER (WHERE state = 'queued' AND run_at <= now())), 0)::float8 AS oldest \
         FROM jobs GROUP BY kind",
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(QueueDepth {
                kind: row.try_get("kind")?,
                queued: row.try_get("queued")?,
                running: row.try_get("running")?,
                oldest_seconds: row.try_get("oldest")?,
            })
        })
        .collect()
}

/// The range of running transaction ids.
#[derive(Debug, Clone, Copy)]
pub struct TransactionSnapshot {
    /// The oldest running transaction: the feed's watermark.
    pub oldest_running: u64,
    /// The next transaction id that will be assigned.
    pub next: u64,
}

/// Returns the current range of running transaction ids.
pub async fn transaction_snapshot(db: &Db) -> Result<TransactionSnapshot, DbError> {
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
