//! How far connections are read, over all tenants, for metrics.

use sqlx::FromRow;

use super::{Db, DbError};

/// The state of the reads at a provider.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct ReadingState {
    /// The provider's slug.
    pub provider: String,
    /// Seconds since the last sync of the active connection that waits longest; 0 without one.
    pub last_sync_age_seconds: f64,
    /// Active connections whose backfill has not ended.
    pub backfills: i64,
    /// The least progress of these backfills, from 0 to 1; 1 without one.
    pub backfill_progress: f64,
    /// Streams whose read the provider denies.
    pub streams_denied: i64,
}

/// Measures the reads at each provider that has a connection, in the operators' role.
pub async fn measure(db: &Db) -> Result<Vec<ReadingState>, DbError> {
    let mut tx = db.begin_as_operator().await?;
    let states = sqlx::query_as(include_str!("reading.sql"))
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(states)
}
