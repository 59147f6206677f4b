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
/// that measuring never takes more than a twentieth of the time.
const LOOK: Duration = Duration::from_secs(1);
const RESTRAINT: u32 = 20;

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
        let backlog = Arc::new(Self {
            most,
            measured: AtomicU64::new(0),
            since: AtomicU64::new(0),
        });
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
                    () = tokio::time::sleep(LOOK.max(began.elapsed() * RESTRAINT)) => {}
                }
            }
        });
        backlog
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
        self.since.fetch_sub(counted, Ordering::AcqRel);
        gauge!(names::INGRESS_BACKLOG_BYTES)
            .set(f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) * 1024.0);
        Ok(())
    }

    /// Takes room for a delivery, if there is some.
    pub(super) fn admit(&self, delivery: &VerifiedDelivery) -> bool {
        let waits = self.measured.load(Ordering::Acquire) + self.since.load(Ordering::Acquire);
        if waits >= self.most {
            return false;
        }
        self.since.fetch_add(delivery.size(), Ordering::AcqRel);
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;

    use super::*;
    use crate::connectors::WebhookReceipt;
    use crate::ids::DeliveryId;

    fn delivery(bytes: usize) -> VerifiedDelivery {
        VerifiedDelivery {
            id: DeliveryId::generate(),
            received_at: DateTime::UNIX_EPOCH,
            provider: "any",
            receipt: WebhookReceipt {
                dedupe_id: String::new(),
                event: String::new(),
                routes: Vec::new(),
                reply: None,
            },
            headers: String::new(),
            body: Bytes::from(vec![0; bytes]),
            traceparent: None,
            routes: Vec::new(),
        }
    }

    #[test]
    fn what_was_taken_since_the_last_look_counts_at_once() {
        let backlog = Backlog {
            most: 100_000,
            measured: AtomicU64::new(0),
            since: AtomicU64::new(0),
        };
        for _ in 0..10 {
            assert!(backlog.admit(&delivery(10_000)));
        }
        assert!(!backlog.admit(&delivery(1)), "it is full");
        // Everything was processed meanwhile.
        backlog.since.store(0, Ordering::Release);
        assert!(backlog.admit(&delivery(1)));
        backlog.measured.store(100_000, Ordering::Release);
        assert!(!backlog.admit(&delivery(1)));
    }
}
