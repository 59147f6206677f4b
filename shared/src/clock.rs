//! The one place where the time of day is read, so that tests can set it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use chrono::{DateTime, Duration, Utc};

/// Where code asks what time it is. Leases and schedules are kept by Postgres itself, because
/// the clocks of two hosts disagree.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> DateTime<Utc>;
}

/// A clock that any number of owners share.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// Postgres's clock, as far as this process knows it: the processes of one installation agree
/// on the time however their hosts' clocks differ. Before Postgres has said anything, the
/// operating system's clock is all there is.
#[derive(Debug, Default)]
pub struct DatabaseClock(RwLock<Option<(Instant, DateTime<Utc>)>>);

impl DatabaseClock {
    /// Postgres shows this time at this moment.
    pub fn set(&self, now: DateTime<Utc>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), now));
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> DateTime<Utc> {
        match *self.0.read().unwrap_or_else(PoisonError::into_inner) {
            // Counted by what no correction of the host's clock can move.
            Some((at, shown)) => shown + at.elapsed(),
            None => SystemClock.now(),
        }
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: DateTime<Utc>) -> Self {
        Self(Mutex::new(start))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgres_shows_goes_before_the_hosts_clock() {
        let clock = DatabaseClock::default();
        assert!((clock.now() - SystemClock.now()).abs() < Duration::minutes(1));
        let elsewhere = SystemClock.now() - Duration::minutes(10);
        clock.set(elsewhere);
        assert!(clock.now() >= elsewhere, "it goes on");
        assert!(clock.now() < elsewhere + Duration::minutes(1));
    }
}
