//! GitHub's primary and secondary limits.
//!
//! Promises a quota per caller that fills up every hour, points per minute where
//! switched on, and the headers that report them. Windows follow the simulated
//! clock; the reset time is told by the client's.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::world::Id;

/// Who a quota belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    Installation(Id),
    User(Id),
    App,
    Anonymous,
}

/// A quota at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) limit: u32,
    pub(crate) used: u32,
    /// Simulated epoch seconds.
    pub(crate) resets_at: i64,
}

impl Quota {
    pub(crate) fn remaining(self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}

#[derive(Default)]
struct Window {
    ends_at: i64,
    used: u32,
    minute: i64,
    points: u32,
}

/// All quotas.
#[derive(Default)]
pub(crate) struct Limits {
    windows: Mutex<HashMap<Holder, Window>>,
}

impl Limits {
    fn windows(&self) -> MutexGuard<'_, HashMap<Holder, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The quota as it is, without using any.
    pub(crate) fn look(&self, holder: Holder, limit: u32, now: i64) -> Quota {
        let mut windows = self.windows();
        windows.entry(holder).or_default().quota(limit, now)
    }

    /// Uses one request and answers the quota after it.
    pub(crate) fn spend(&self, holder: Holder, limit: u32, now: i64) -> Quota {
        let mut windows = self.windows();
        let window = windows.entry(holder).or_default();
        window.quota(limit, now);
        window.used = window.used.saturating_add(1).min(limit);
        window.quota(limit, now)
    }

    /// Uses the whole quota up.
    pub(crate) fn exhaust(&self, holder: Holder, limit: u32, now: i64) -> Quota {
        let mut windows = self.windows();
        let window = windows.entry(holder).or_default();
        window.quota(limit, now);
        window.used = limit;
        window.quota(limit, now)
    }

    /// Adds points of the secondary limit; answers whether they were too many.
    pub(crate) fn too_fast(&self, holder: Holder, points: u32, per_minute: u32, now: i64) -> bool {
        let mut windows = self.windows();
        let window = windows.entry(holder).or_default();
        if window.minute != now / 60 {
            window.minute = now / 60;
            window.points = 0;
        }
        window.points += points;
        window.points > per_minute
    }

    /// Forgets all use.
    pub(crate) fn reset(&self) {
        self.windows().clear();
    }
}

impl Window {
    fn quota(&mut self, limit: u32, now: i64) -> Quota {
        if now >= self.ends_at {
            self.ends_at = now + 3_600;
            self.used = 0;
        }
        Quota {
            limit,
            used: self.used.min(limit),
            resets_at: self.ends_at,
        }
    }
}

/// Requests per hour of an installation: 5,000, and 50 more for every repository
/// and every user above 20, at most 12,500.
pub(crate) fn hourly(base: u32, repositories: usize, users: usize) -> u32 {
    let above = |count: usize| u32::try_from(count.saturating_sub(20)).unwrap_or(u32::MAX);
    let more = above(repositories)
        .saturating_add(above(users))
        .saturating_mul(50);
    base.saturating_add(more).min(base.max(12_500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_used_up_and_comes_back_after_an_hour() {
        let limits = Limits::default();
        let me = Holder::Installation(1);
        assert_eq!(limits.spend(me, 2, 100).remaining(), 1);
        assert_eq!(limits.spend(me, 2, 101).remaining(), 0);
        let quota = limits.look(me, 2, 3_699);
        assert_eq!((quota.remaining(), quota.resets_at), (0, 3_700));
        assert_eq!(limits.look(me, 2, 3_700).remaining(), 2);
        assert_eq!(limits.look(Holder::User(1), 2, 101).remaining(), 2);
    }

    #[test]
    fn larger_installations_have_larger_quotas() {
        assert_eq!(hourly(5_000, 20, 5), 5_000);
        assert_eq!(hourly(5_000, 23, 21), 5_200);
        assert_eq!(hourly(5_000, 2_000, 0), 12_500);
        assert_eq!(hourly(1_000_000, 2_000, 0), 1_000_000);
    }

    #[test]
    fn points_are_counted_per_minute() {
        let limits = Limits::default();
        assert!(!limits.too_fast(Holder::App, 1, 2, 60));
        assert!(!limits.too_fast(Holder::App, 1, 2, 61));
        assert!(limits.too_fast(Holder::App, 1, 2, 62));
        assert!(!limits.too_fast(Holder::App, 1, 2, 120));
    }
}
