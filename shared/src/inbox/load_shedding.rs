//! Load shedding: distinguishes overload from a burst (`CoDel`).
//!
//! A burst, or a pause of the disk, leaves a long queue that drains within moments, so its
//! requests are worth the wait. A standing queue only adds latency: each request waits for those
//! before it and times out before its commit. The two differ in that a burst's queue is empty now
//! and then although no request is shed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time without an empty queue that counts as overload.
///
/// Overload ends only after the same time without a shed request: shedding is the reason why the
/// queue becomes empty.
const OVERLOAD_INTERVAL: Duration = Duration::from_secs(2);

/// The recent state of the intake queue, from which overload is derived.
#[derive(Debug)]
pub(super) struct LoadShedder {
    epoch: Instant,
    /// The waiting time of the newest batch's first delivery, in milliseconds.
    wait_ms: AtomicU64,
    /// When the queue was last empty, in milliseconds after `epoch`.
    empty_at_ms: AtomicU64,
    /// When a delivery was last shed, in milliseconds after `epoch`.
    shed_at_ms: AtomicU64,
}

impl LoadShedder {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            wait_ms: AtomicU64::new(0),
            empty_at_ms: AtomicU64::new(0),
            shed_at_ms: AtomicU64::new(0),
        }
    }

    /// The state of a queue that was last empty this long ago.
    #[cfg(test)]
    pub(super) fn not_empty_for(time: Duration) -> Self {
        let epoch = Instant::now().checked_sub(time);
        Self {
            epoch: epoch.expect("the clock runs for a while"),
            ..Self::new()
        }
    }

    /// Records how long the first delivery of a batch has waited.
    pub(super) fn record_wait(&self, waited: Duration) {
        self.wait_ms.store(milliseconds(waited), Ordering::Release);
    }

    /// Records that the queue is empty.
    pub(super) fn record_empty(&self, now: Instant) {
        if self.is_long_ago(&self.shed_at_ms, now) || !self.is_overloaded(now) {
            self.empty_at_ms
                .store(self.since_epoch(now), Ordering::Release);
        }
    }

    /// Records that a delivery was shed because of overload.
    pub(super) fn record_shed(&self, now: Instant) {
        self.shed_at_ms
            .store(self.since_epoch(now), Ordering::Release);
    }

    /// Whether the queue, which is not empty now, has not been empty for too long.
    pub(super) fn is_overloaded(&self, now: Instant) -> bool {
        self.is_long_ago(&self.empty_at_ms, now)
    }

    /// Whether a new delivery would wait at least this long.
    pub(super) fn is_wait_at_least(&self, time: Duration) -> bool {
        self.wait_ms.load(Ordering::Acquire) >= milliseconds(time)
    }

    fn is_long_ago(&self, timestamp: &AtomicU64, now: Instant) -> bool {
        let timestamp = timestamp.load(Ordering::Acquire);
        self.since_epoch(now).saturating_sub(timestamp) >= milliseconds(OVERLOAD_INTERVAL)
    }

    fn since_epoch(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.epoch))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_is_overloaded_after_two_seconds_not_empty() {
        let shedder = LoadShedder::new();
        let start = shedder.epoch;
        shedder.record_empty(start + Duration::from_secs(10));
        assert!(!shedder.is_overloaded(start + Duration::from_millis(11_999)));
        assert!(shedder.is_overloaded(start + Duration::from_secs(12)));
        shedder.record_empty(start + Duration::from_secs(12));
        assert!(!shedder.is_overloaded(start + Duration::from_secs(13)));
    }

    #[test]
    fn overload_lasts_while_deliveries_are_shed() {
        let shedder = LoadShedder::new();
        let second = |seconds| shedder.epoch + Duration::from_secs(seconds);
        assert!(shedder.is_overloaded(second(10)));
        shedder.record_shed(second(10));
        shedder.record_empty(second(11));
        assert!(shedder.is_overloaded(second(11)));
        shedder.record_empty(second(12));
        assert!(!shedder.is_overloaded(second(12)));
        // A delivery that is shed outside of an overload does not begin one.
        shedder.record_shed(second(13));
        shedder.record_empty(second(13));
        assert!(!shedder.is_overloaded(second(14)));
    }

    #[test]
    fn newest_batch_sets_the_expected_wait() {
        let shedder = LoadShedder::new();
        assert!(!shedder.is_wait_at_least(Duration::from_millis(1)));
        shedder.record_wait(Duration::from_millis(300));
        assert!(shedder.is_wait_at_least(Duration::from_millis(300)));
        assert!(!shedder.is_wait_at_least(Duration::from_millis(301)));
    }
}
