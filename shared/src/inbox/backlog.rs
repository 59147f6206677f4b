//! The backlog: bytes of deliveries that wait to be processed, and their quotas.
//!
//! A queue absorbs bursts, but a lasting overload would fill the disk. Above the quota deliveries
//! are rejected before they are acknowledged, so that the provider keeps them. Quotas count bytes,
//! which are the disk's limit. Each tenant has a share, and unmatched deliveries, which may wait
//! indefinitely, have a separate quota.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::gauge;

use super::{StoreLimits, VerifiedDelivery};
use crate::db::{Db, DbError};
use crate::queue::JobQueue;
use crate::service::Lifecycle;
use crate::telemetry::names;

/// The shortest pause between two measurements.
const MIN_MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause between two measurements.
///
/// Until the next measurement, processed deliveries still count as backlog.
const MAX_MEASURE_INTERVAL: Duration = Duration::from_secs(5);
/// The pause after a measurement, in multiples of its duration.
///
/// It bounds the load that measurements put on Postgres.
const MEASURE_PAUSE_FACTOR: u32 = 20;

/// The maximum number of bytes of deliveries that are kept.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    /// Deliveries that wait to be processed.
    pub backlog: u64,
    /// Deliveries of one tenant that wait to be processed.
    pub tenant_backlog: u64,
    /// Unmatched deliveries of one account.
    pub unmatched_account: u64,
    /// Unmatched deliveries of all accounts.
    pub unmatched: u64,
}

/// The quotas and their measured use.
#[derive(Debug)]
pub struct Backlog {
    quotas: Quotas,
    limits: Mutex<StoreLimits>,
    measured: AtomicU64,
    /// Bytes that this process has admitted since the last measurement began.
    ///
    /// Those of other processes count from the next measurement on, so the quota can be exceeded
    /// by that much.
    admitted: AtomicU64,
}

impl Backlog {
    /// Starts the task that measures the backlog; it ends with the process.
    pub fn start(
        db: Db,
        queue: Arc<dyn JobQueue>,
        quotas: Quotas,
        lifecycle: &Lifecycle,
    ) -> Arc<Self> {
        let backlog = Arc::new(Self::empty(quotas));
        let measuring = Arc::clone(&backlog);
        lifecycle.supervise_background("backlog measurement", async move {
            loop {
                let started_at = Instant::now();
                if let Err(error) = measuring.measure(&db, &*queue).await {
                    let error = &error as &dyn Error;
                    tracing::debug!(error, "failed to measure the ingress backlog");
                }
                let pause = started_at.elapsed() * MEASURE_PAUSE_FACTOR;
                let pause = pause.clamp(MIN_MEASURE_INTERVAL, MAX_MEASURE_INTERVAL);
                tokio::time::sleep(pause).await;
            }
        });
        backlog
    }

    pub(super) fn empty(quotas: Quotas) -> Self {
        Self {
            quotas,
            limits: Mutex::new(StoreLimits {
                unmatched_account_bytes: quotas.unmatched_account,
                ..StoreLimits::default()
            }),
            measured: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
        }
    }

    async fn measure(&self, db: &Db, queue: &dyn JobQueue) -> Result<(), DbError> {
        let counted = self.admitted.load(Ordering::Acquire);
        let tenants = queue.waiting_bytes().await?;
        let unmatched: i64 =
            sqlx::query_scalar("SELECT coalesce(sum(bytes), 0)::bigint FROM unmatched_accounts")
                .fetch_one(db)
                .await?;
        let unmatched = u64::try_from(unmatched).unwrap_or(0);
        let full = tenants
            .iter()
            .filter(|(_, bytes)| *bytes >= self.quotas.tenant_backlog)
            .map(|(tenant, _)| *tenant)
            .collect();
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = StoreLimits {
            full_tenants: full,
            unmatched_account_bytes: self.quotas.unmatched_account,
            is_unmatched_full: unmatched >= self.quotas.unmatched,
        };
        let bytes = tenants.iter().map(|(_, bytes)| bytes).sum();
        self.measured.store(bytes, Ordering::Release);
        self.subtract(counted);
        gauge!(names::INGRESS_BACKLOG_BYTES)
            .set(f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) * 1024.0);
        Ok(())
    }

    /// The limits of the next batch, as last measured.
    pub(super) fn limits(&self) -> StoreLimits {
        let limits = self.limits.lock();
        limits.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn is_full(&self) -> bool {
        let admitted = self.admitted.load(Ordering::Acquire);
        self.measured.load(Ordering::Acquire) + admitted >= self.quotas.backlog
    }

    /// Counts a delivery as backlog unless the quota is used up.
    pub(super) fn admit(&self, delivery: &VerifiedDelivery) -> bool {
        if self.is_full() {
            return false;
        }
        self.admitted.fetch_add(delivery.size(), Ordering::AcqRel);
        true
    }

    /// Removes an admitted delivery that was rejected later.
    pub(super) fn release(&self, delivery: &VerifiedDelivery) {
        self.subtract(delivery.size());
    }

    /// Saturates, because a delivery that is released during a measurement is subtracted twice.
    fn subtract(&self, bytes: u64) {
        let less = |admitted: u64| Some(admitted.saturating_sub(bytes));
        self.admitted
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .ok();
    }
}

/// Quotas without a limit but the backlog's.
#[cfg(test)]
pub(super) const fn backlog_quota(backlog: u64) -> Quotas {
    Quotas {
        backlog,
        tenant_backlog: u64::MAX,
        unmatched_account: u64::MAX,
        unmatched: u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::delivery::with_body_size;

    #[test]
    fn admitted_delivery_counts_before_the_next_measurement() {
        let backlog = Backlog::empty(backlog_quota(100_000));
        for _ in 0..10 {
            assert!(backlog.admit(&with_body_size(10_000)));
        }
        assert!(!backlog.admit(&with_body_size(1)), "the backlog is full");
        backlog.release(&with_body_size(10_000));
        assert!(
            backlog.admit(&with_body_size(10_000)),
            "a delivery was released"
        );
        // All deliveries were processed meanwhile.
        backlog.admitted.store(0, Ordering::Release);
        assert!(backlog.admit(&with_body_size(1)));
        backlog.measured.store(100_000, Ordering::Release);
        assert!(!backlog.admit(&with_body_size(1)));
    }
}
