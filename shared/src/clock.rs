//! Clocks: the only place where the time of day is read, so that tests can set it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use chrono::{DateTime, Duration, Utc};

/// A source of the current time.
///
/// Leases and due times use Postgres's clock instead, because the clocks of two hosts differ.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> DateTime<Utc>;
}

/// A clock with shared ownership.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the system clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// Postgres's clock, extrapolated from its last reading.
///
/// All processes of an installation thus agree on the time although their hosts' clocks differ.
/// Until the first reading, it shows the operating system's clock.
#[derive(Debug, Default)]
pub struct DatabaseClock(RwLock<Option<(Instant, DateTime<Utc>)>>);

impl DatabaseClock {
    /// Sets the current time of Postgres.
    pub fn set(&self, now: DateTime<Utc>) {
        let mut reading = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *reading = Some((Instant::now(), now));
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> DateTime<Utc> {
        match *self.0.read().unwrap_or_else(PoisonError::into_inner) {
            // A monotonic clock, which corrections of the host's clock do not affect.
            Some((read_at, time)) => time + read_at.elapsed(),
            None => SystemClock.now(),
        }
    }
}

/// A clock that only [`ManualClock::advance`] moves.
#[derive(Debug)]
pub struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    /// Creates a clock that shows `start`.
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
    fn database_time_overrides_host_time() {
        let clock = DatabaseClock::default();
        assert!((clock.now() - SystemClock.now()).abs() < Duration::minutes(1));
        let database_time = SystemClock.now() - Duration::minutes(10);
        clock.set(database_time);
        assert!(clock.now() >= database_time, "it advances");
        assert!(clock.now() < database_time + Duration::minutes(1));
    }
}
