//! Rate limit per key by the generic cell rate algorithm (GCRA), in a bounded table.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The maximum number of entries; entries with a full quota are evicted first.
const MAX_ENTRIES: usize = 20_000;

/// A burst and the interval in which one unit of it is replenished.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    burst: u32,
    interval: Duration,
}

impl Rate {
    /// A rate of `burst` units per `window`.
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

/// The quota of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    pub(super) remaining: u32,
    /// The time until the quota is full.
    pub(super) reset_after: Duration,
    /// The time until the next unit; `None` while one is left.
    pub(super) retry_after: Option<Duration>,
}

/// A rate limit per key.
#[derive(Debug)]
pub(super) struct Gcra<K> {
    rate: Rate,
    /// The time at which the quota of each key is full.
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Gcra<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: Mutex::new(HashMap::new()),
        }
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one unit if one is left.
    pub(super) fn try_acquire(&self, key: K, now: Instant) -> Quota {
        let mut table = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let debt = debt(table.get(&key), now);
        let quota = self.quota(debt);
        if quota.retry_after.is_some() {
            return quota;
        }
        if table.len() >= MAX_ENTRIES && !table.contains_key(&key) {
            evict(&mut table, now);
        }
        let debt = debt + self.rate.interval;
        table.insert(key, now + debt);
        Quota {
            retry_after: None,
            ..self.quota(debt)
        }
    }

    /// Returns the quota without taking a unit.
    pub(super) fn peek(&self, key: &K, now: Instant) -> Quota {
        let table = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.quota(debt(table.get(key), now))
    }

    fn quota(&self, debt: Duration) -> Quota {
        let spent = debt
            .as_nanos()
            .div_ceil(self.rate.interval.as_nanos().max(1));
        let spent = u32::try_from(spent).unwrap_or(u32::MAX);
        let remaining = self.rate.burst.saturating_sub(spent);
        let max_debt = self.rate.interval * self.rate.burst.saturating_sub(1);
        Quota {
            remaining,
            reset_after: debt,
            retry_after: (remaining == 0)
                .then(|| debt.saturating_sub(max_debt).max(Duration::from_millis(1))),
        }
    }
}

fn debt(full_at: Option<&Instant>, now: Instant) -> Duration {
    full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
}

/// Evicts entries with a full quota; if there are none, the half with the least debt.
fn evict<K: Eq + Hash>(table: &mut HashMap<K, Instant>, now: Instant) {
    table.retain(|_, full_at| *full_at > now);
    if table.len() < MAX_ENTRIES {
        return;
    }
    let mut times: Vec<Instant> = table.values().copied().collect();
    let (_, median, _) = times.select_nth_unstable(MAX_ENTRIES / 2);
    let median = *median;
    table.retain(|_, full_at| *full_at > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_is_granted_and_replenished() {
        let gcra = Gcra::new(Rate::per(Duration::from_secs(10), 5));
        let now = Instant::now();
        for remaining in (0..5).rev() {
            let quota = gcra.try_acquire("key", now);
            assert_eq!((quota.remaining, quota.retry_after), (remaining, None));
        }
        let rejected = gcra.try_acquire("key", now);
        assert_eq!(rejected.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(rejected.reset_after, Duration::from_secs(10));
        assert!(gcra.try_acquire("other", now).retry_after.is_none());
        let later = now + Duration::from_secs(2);
        assert!(gcra.try_acquire("key", later).retry_after.is_none());
        assert!(gcra.try_acquire("key", later).retry_after.is_some());
        let recovered = gcra.peek(&"key", now + Duration::from_mins(1));
        assert_eq!(
            (recovered.remaining, recovered.reset_after),
            (5, Duration::ZERO)
        );
    }

    #[test]
    fn bounded_table_keeps_the_largest_debts() {
        let gcra = Gcra::new(Rate::per(Duration::from_secs(100), 10));
        let now = Instant::now();
        for _ in 0..10 {
            gcra.try_acquire(u64::MAX, now);
        }
        for key in 0..3 * MAX_ENTRIES as u64 {
            gcra.try_acquire(key, now);
        }
        let entries = gcra
            .full_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        assert!(entries <= MAX_ENTRIES, "{entries}");
        assert!(gcra.try_acquire(u64::MAX, now).retry_after.is_some());
    }
}
