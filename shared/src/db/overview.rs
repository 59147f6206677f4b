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

/// The state of workers and feed.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Service {
    /// The time of the read.
    pub now: DateTime<Utc>,
    /// Workers with a valid heartbeat.
    pub workers: i64,
    /// How far the feed's watermark is behind, in seconds; `None` without a measurement.
    pub feed_lag_seconds: Option<f64>,
}

/// Reads the state of workers and feed.
pub async fn read_service(tx: &mut Tx) -> Result<Service, DbError> {
    Ok(sqlx::query_as(
        "SELECT now() AS now, count(*) AS workers, max(feed_lag_seconds) AS feed_lag_seconds \
         FROM workers WHERE expires_at > now()",
    )
    .fetch_one(&mut **tx)
    .await?)
}
