//! Synchronization with Postgres's clock, for processes without a heartbeat.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Db, DbError};
use crate::clock::DatabaseClock;

/// Interval between two readings.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Interval after a failed reading.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Readings that took longer than this are discarded as inexact.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(1);

/// Keeps `clock` in step with Postgres's clock until the task is cancelled.
pub async fn run(db: Db, clock: Arc<DatabaseClock>) {
    loop {
        let interval = match fetch_time(&db).await {
            Ok(Some(now)) => {
                clock.set(now);
                POLL_INTERVAL
            }
            Ok(None) => RETRY_INTERVAL,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn Error,
                    "failed to read the database clock"
                );
                RETRY_INTERVAL
            }
        };
        tokio::time::sleep(interval).await;
    }
}

async fn fetch_time(db: &Db) -> Result<Option<DateTime<Utc>>, DbError> {
    let started = Instant::now();
    let database_time: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(db)
        .await?;
    let round_trip = started.elapsed();
    let one_way = TimeDelta::from_std(round_trip / 2).unwrap_or_default();
    Ok((round_trip < MAX_ROUND_TRIP).then(|| database_time + one_way))
}
