//! What waits to be processed, and whether there is room for more.
//!
//! A queue absorbs bursts, but not a load that lasts: deliveries that nobody gets to would fill
//! the disk. Beyond a bound they are refused before they are acknowledged, so that the provider
//! keeps them. The bound is on bytes, because that is what a disk has.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::gauge;
use tokio_util::sync::CancellationToken;

use super::VerifiedDelivery;
use crate::db::{Db, DbError};
use crate::telemetry::names;

/// How often it is measured, at the most; a measurement that takes long comes more rarely, so
/// that measuring takes a twentieth of the time. But where everything takes long, what was taken
/// in must not pass for what waits, so it comes then as well.
const LOOK: Duration = Duration::from_secs(1);
const RESTRAINT: u32 = 20;
const LATEST: Duration = Duration::from_secs(5);

/// The bound, and how near it is.
#[derive(Debug)]
pub struct Backlog {
    most: u64,
    measured: AtomicU64,
    /// Taken in here since the last measurement began. Other processes' are measured a moment
    /// late, which is how far the bound can be passed.
    since: AtomicU64,
}

impl Backlog {
    /// Starts the task that measures; it ends with the token.
    pub fn start(db: Db, most: u64, stop: CancellationToken) -> Arc<Self> {
        let backlog = Arc::new(Self::empty(most));
        let measuring = Arc::clone(&backlog);
        tokio::spawn(async move {
            loop {
                let began = Instant::now();
                if let Err(error) = measuring.measure(&db).await {
                    let error = &error as &dyn Error;
                    tracing::debug!(error, "what waits cannot be measured");
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep((began.elapsed() * RESTRAINT).clamp(LOOK, LATEST)) => {}
                }
            }
        });
        backlog
    }

    pub(super) const fn empty(most: u64) -> Self {
        Self {
            most,
            measured: AtomicU64::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// Served by `jobs_due`.
    async fn measure(&self, db: &Db) -> Result<(), DbError> {
        let counted = self.since.load(Ordering::Acquire);
        let bytes: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(bytes), 0)::bigint FROM jobs \
             WHERE state = 'queued' AND kind = 'process_deliveries'",
        )
        .fetch_one(db)
        .await?;
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.measured.store(bytes, Ordering::Release);
        self.forget(counted);
        gauge!(names::INGRESS_BACKLOG_BYTES)
            .set(f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) * 1024.0);
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        let since = self.since.load(Ordering::Acquire);
        self.measured.load(Ordering::Acquire) + since >= self.most
    }

    /// Takes room for a delivery, if there is some.
    pub(super) fn admit(&self, delivery: &VerifiedDelivery) -> bool {
        if self.is_full() {
            return false;
        }
        self.since.fetch_add(delivery.size(), Ordering::AcqRel);
        true
    }

    /// Gives back the room of a delivery that was refused after all.
    pub(super) fn release(&self, delivery: &VerifiedDelivery) {
        self.forget(delivery.size());
    }

    /// What is given back while it is measured may be among what was counted.
    fn forget(&self, bytes: u64) {
        let less = |since: u64| Some(since.saturating_sub(bytes));
        self.since
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::delivery::of_bytes;

    #[test]
    fn what_was_taken_since_the_last_look_counts_at_once() {
        let backlog = Backlog::empty(100_000);
        for _ in 0..10 {
            assert!(backlog.admit(&of_bytes(10_000)));
        }
        assert!(!backlog.admit(&of_bytes(1)), "it is full");
        backlog.release(&of_bytes(10_000));
        assert!(
            backlog.admit(&of_bytes(10_000)),
            "one was refused after all"
        );
        // Everything was processed meanwhile.
        backlog.since.store(0, Ordering::Release);
        assert!(backlog.admit(&of_bytes(1)));
        backlog.measured.store(100_000, Ordering::Release);
        assert!(!backlog.admit(&of_bytes(1)));
    }
}
