//! Counts over all tenants, for operators.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Db, DbError, Tx};

/// The number of connections at a provider in a state of health.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ConnectionCount {
    /// The provider's slug.
    pub provider: String,
    /// The state of health.
    pub health: String,
    /// The number of connections.
    pub connections: i64,
}

/// Counts connections by provider and health; all of them include the ended ones.
pub async fn count_connections(tx: &mut Tx) -> Result<Vec<ConnectionCount>, DbError> {
    Ok(sqlx::query_as(
        "SELECT provider, health, count(*) AS connections FROM connections \
         GROUP BY provider, health ORDER BY provider, health",
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Counts connections as [`count_connections`] does, for a task that no request starts.
pub async fn measure_connections(db: &Db) -> Result<Vec<ConnectionCount>, DbError> {
    let mut tx = db.begin_as_operator().await?;
    let counts = count_connections(&mut tx).await?;
    tx.end_read();
    Ok(counts)
}

/// The state of queue, workers and feed.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Service {
    /// The time of the read.
    pub now: DateTime<Utc>,
    /// Queued jobs that are due.
    pub due: i64,
    /// Queued jobs that are due later.
    pub scheduled: i64,
    /// Running jobs.
    pub running: i64,
    /// The age of the oldest due job, in seconds; 0 without one.
    pub oldest_seconds: f64,
    /// Dead-lettered jobs within their retention.
    pub dead: i64,
    /// Workers with a valid heartbeat.
    pub workers: i64,
    /// How far the feed's watermark is behind, in seconds; `None` without a measurement.
    pub feed_lag_seconds: Option<f64>,
}

/// Reads the state of queue, workers and feed.
pub async fn read_service(tx: &mut Tx) -> Result<Service, DbError> {
    Ok(sqlx::query_as(
        "SELECT now() AS now, j.*, w.*, \
             (SELECT count(*) FROM job_history WHERE state = 'dead') AS dead \
         FROM (SELECT count(*) FILTER (WHERE state = 'queued' AND run_at <= now()) AS due, \
                 count(*) FILTER (WHERE state = 'queued' AND run_at > now()) AS scheduled, \
                 count(*) FILTER (WHERE state = 'running') AS running, \
                 coalesce(extract(epoch FROM now() - min(run_at) \
                     FILTER (WHERE state = 'queued' AND run_at <= now())), 0)::float8 \
                     AS oldest_seconds \
             FROM jobs) j, \
             (SELECT count(*) AS workers, max(feed_lag_seconds) AS feed_lag_seconds \
             FROM workers WHERE expires_at > now()) w",
    )
    .fetch_one(&mut **tx)
    .await?)
}
