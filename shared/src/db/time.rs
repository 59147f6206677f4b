//! What time it is in Postgres, for processes that have no heartbeat.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Db, DbError};
use crate::clock::DatabaseClock;

/// How often it is asked.
const LOOK: Duration = Duration::from_secs(10);
/// The same, while nothing is known.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// An answer that took longer tells too little about the present.
const EXACT: Duration = Duration::from_secs(1);

/// Keeps `clock` by Postgres's, without end.
pub async fn follow(db: Db, clock: Arc<DatabaseClock>) {
    loop {
        let pause = match look(&db).await {
            Ok(Some(now)) => {
                clock.set(now);
                LOOK
            }
            Ok(None) => LOOK_AGAIN,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn Error,
                    "Postgres does not tell the time"
                );
                LOOK_AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn look(db: &Db) -> Result<Option<DateTime<Utc>>, DbError> {
    let began = Instant::now();
    let shown: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(db)
        .await?;
    let took = began.elapsed();
    let half = TimeDelta::from_std(took / 2).unwrap_or_default();
    Ok((took < EXACT).then(|| shown + half))
}
