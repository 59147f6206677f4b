//! GitHub's primary and secondary limits.
//!
//! Promises a quota per caller and resource that is full again after an hour
//! (searches: a minute), points per minute over all endpoints, and a count of the
//! requests in flight. Windows follow the simulated clock; the reset time is told
//! by the client's. Source: "Rate limits for the REST API" at docs.github.com.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::world::Id;

/// Requests per window where no limit is enforced.
pub(crate) const UNLIMITED: u32 = 1_000_000_000;

/// Who a quota belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    Installation(Id),
    User(Id),
    App,
    Anonymous,
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Resource {
    /// Everything except searches.
    Core,
    Search,
}

impl Resource {
    /// The value of `x-ratelimit-resource`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Search => "search",
        }
    }

    /// Length of the window.
    pub(crate) const fn seconds(self) -> i64 {
        match self {
            Self::Core => 3_600,
            Self::Search => 60,
        }
    }
}

/// Whose requests are counted, which, and how many a window allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) holder: Holder,
    pub(crate) resource: Resource,
    pub(crate) limit: u32,
}

/// A quota at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) resource: Resource,
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
}

/// Points of a caller in a minute.
#[derive(Default)]
struct Minute {
    number: i64,
    points: u32,
}

#[derive(Default)]
struct Use {
    windows: HashMap<(Holder, Resource), Window>,
    minutes: HashMap<Holder, Minute>,
}

/// All quotas.
#[derive(Default)]
pub(crate) struct Limits {
    spent: Mutex<Use>,
    running: Mutex<HashMap<Holder, usize>>,
}

/// A request in progress; counts it as finished when dropped.
pub(crate) struct InFlight<'a> {
    limits: &'a Limits,
    holder: Holder,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(running) = lock(&self.limits.running).get_mut(&self.holder) {
            *running -= 1;
        }
    }
}

impl Limits {
    /// Notes the start of a caller's request and how many run with it.
    pub(crate) fn enter(&self, holder: Holder) -> (InFlight<'_>, usize) {
        let mut running = lock(&self.running);
        let own = running.entry(holder).or_default();
        *own += 1;
        let limits = self;
        (InFlight { limits, holder }, *own)
    }

    /// The quota as it is, without using any.
    pub(crate) fn look(&self, of: Allowance, now: i64) -> Quota {
        self.window(of, now, |_| {})
    }

    /// Uses one request and answers the quota after it.
    pub(crate) fn spend(&self, of: Allowance, now: i64) -> Quota {
        self.window(of, now, |window| {
            window.used = window.used.saturating_add(1).min(of.limit);
        })
    }

    /// Uses the whole quota up.
    pub(crate) fn exhaust(&self, of: Allowance, now: i64) -> Quota {
        self.window(of, now, |window| window.used = of.limit)
    }

    fn window(&self, of: Allowance, now: i64, change: impl FnOnce(&mut Window)) -> Quota {
        let mut spent = lock(&self.spent);
        let window = spent.windows.entry((of.holder, of.resource)).or_default();
        if now >= window.ends_at {
            window.ends_at = now + of.resource.seconds();
            window.used = 0;
        }
        change(window);
        Quota {
            resource: of.resource,
            limit: of.limit,
            used: window.used.min(of.limit),
            resets_at: window.ends_at,
        }
    }

    /// Adds points of the secondary limit; answers whether they were too many.
    pub(crate) fn too_fast(&self, holder: Holder, points: u32, per_minute: u32, now: i64) -> bool {
        let mut spent = lock(&self.spent);
        let minute = spent.minutes.entry(holder).or_default();
        if minute.number != now / 60 {
            *minute = Minute {
                number: now / 60,
                points: 0,
            };
        }
        minute.points = minute.points.saturating_add(points);
        minute.points > per_minute
    }

    /// Forgets all use.
    pub(crate) fn reset(&self) {
        *lock(&self.spent) = Use::default();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    const fn of(holder: Holder, resource: Resource) -> Allowance {
        Allowance {
            holder,
            resource,
            limit: 2,
        }
    }

    #[test]
    fn quota_is_full_again_after_its_window() {
        let limits = Limits::default();
        for (resource, ends_at) in [(Resource::Core, 3_700), (Resource::Search, 160)] {
            let me = of(Holder::Installation(1), resource);
            assert_eq!(limits.spend(me, 100).remaining(), 1);
            assert_eq!(limits.spend(me, 101).remaining(), 0);
            let quota = limits.look(me, ends_at - 1);
            assert_eq!((quota.remaining(), quota.resets_at), (0, ends_at));
            assert_eq!(limits.look(me, ends_at).remaining(), 2);
        }
        let other = of(Holder::User(1), Resource::Core);
        assert_eq!(limits.look(other, 101).remaining(), 2);
    }

    #[test]
    fn requests_in_flight_are_counted_per_caller() {
        let limits = Limits::default();
        let (first, one) = limits.enter(Holder::App);
        let (_second, two) = limits.enter(Holder::App);
        let (_other, alone) = limits.enter(Holder::Anonymous);
        drop(first);
        let (_third, again) = limits.enter(Holder::App);
        assert_eq!((one, two, alone, again), (1, 2, 1, 2));
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
