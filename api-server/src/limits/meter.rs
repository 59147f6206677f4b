//! A rate limiter per key (GCRA) over a bounded table.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Entries of one table; those that have recovered their whole burst make room first.
const MAX_ENTRIES: usize = 20_000;

/// How many at once, and how fast they come back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    burst: u32,
    interval: Duration,
}

impl Rate {
    /// `burst` at once, all of which come back within `window`.
    pub(super) fn per(window: Duration, burst: u32) -> Self {
        Self {
            burst,
            interval: window / burst.max(1),
        }
    }

    pub(super) const fn burst(self) -> u32 {
        self.burst
    }
}

/// What is left to a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) remaining: u32,
    /// Until everything has come back.
    pub(super) full_in: Duration,
    /// Until the next one; `None` while there is one.
    pub(super) retry_after: Option<Duration>,
}

/// A rate limiter per key.
#[derive(Debug)]
pub(super) struct Meter<K> {
    rate: Rate,
    /// When all that a key has spent will have come back.
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Meter<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: Mutex::new(HashMap::new()),
        }
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one, if one is left.
    pub(super) fn spend(&self, key: K, now: Instant) -> Left {
        let mut table = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = owed(table.get(&key), now);
        let left = self.left(owed);
        if left.retry_after.is_some() {
            return left;
        }
        if table.len() >= MAX_ENTRIES && !table.contains_key(&key) {
            make_room(&mut table, now);
        }
        let owed = owed + self.rate.interval;
        table.insert(key, now + owed);
        Left {
            retry_after: None,
            ..self.left(owed)
        }
    }

    /// What is left, without taking any.
    pub(super) fn look(&self, key: &K, now: Instant) -> Left {
        let table = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.left(owed(table.get(key), now))
    }

    fn left(&self, owed: Duration) -> Left {
        let spent = owed
            .as_nanos()
            .div_ceil(self.rate.interval.as_nanos().max(1));
        let spent = u32::try_from(spent).unwrap_or(u32::MAX);
        let remaining = self.rate.burst.saturating_sub(spent);
        let most = self.rate.interval * self.rate.burst.saturating_sub(1);
        Left {
            remaining,
            full_in: owed,
            retry_after: (remaining == 0)
                .then(|| owed.saturating_sub(most).max(Duration::from_millis(1))),
        }
    }
}

fn owed(full_at: Option<&Instant>, now: Instant) -> Duration {
    full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
}

/// Forgets who has recovered, and if that is nobody, who has most nearly.
fn make_room<K: Eq + Hash>(table: &mut HashMap<K, Instant>, now: Instant) {
    table.retain(|_, full_at| *full_at > now);
    if table.len() < MAX_ENTRIES {
        return;
    }
    let mut ends: Vec<Instant> = table.values().copied().collect();
    let (_, middle, _) = ends.select_nth_unstable(MAX_ENTRIES / 2);
    let middle = *middle;
    table.retain(|_, full_at| *full_at > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_is_granted_and_comes_back_with_time() {
        let meter = Meter::new(Rate::per(Duration::from_secs(10), 5));
        let now = Instant::now();
        for remaining in (0..5).rev() {
            let left = meter.spend("key", now);
            assert_eq!((left.remaining, left.retry_after), (remaining, None));
        }
        let refused = meter.spend("key", now);
        assert_eq!(refused.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(refused.full_in, Duration::from_secs(10));
        assert!(meter.spend("other", now).retry_after.is_none());
        let later = now + Duration::from_secs(2);
        assert!(meter.spend("key", later).retry_after.is_none());
        assert!(meter.spend("key", later).retry_after.is_some());
        let rested = meter.look(&"key", now + Duration::from_mins(1));
        assert_eq!((rested.remaining, rested.full_in), (5, Duration::ZERO));
    }

    #[test]
    fn table_stays_bounded_and_keeps_who_spent_most() {
        let meter = Meter::new(Rate::per(Duration::from_secs(100), 10));
        let now = Instant::now();
        for _ in 0..10 {
            meter.spend(u64::MAX, now);
        }
        for key in 0..3 * MAX_ENTRIES as u64 {
            meter.spend(key, now);
        }
        let entries = meter
            .full_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        assert!(entries <= MAX_ENTRIES, "{entries}");
        assert!(meter.spend(u64::MAX, now).retry_after.is_some());
    }
}
