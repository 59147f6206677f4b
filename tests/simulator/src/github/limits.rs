//! GitHub's primary and secondary rate limits.
//!
//! Each caller has a quota per resource, which resets every hour (searches: every minute). The
//! secondary limits count points per minute over all endpoints and requests in flight. Windows
//! follow the simulated clock; reset times in headers follow the system clock.
//!
//! Source: "Rate limits for the REST API" at docs.github.com.

use std::collections::HashMap;

use super::world::Id;
use crate::lock::Mutex;

/// Requests per window if the limit is not enforced.
pub(crate) const UNLIMITED: u32 = 1_000_000_000;

/// Holder of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    Installation(Id),
    User(Id),
    App,
    Anonymous,
}

/// Resource that a quota covers.
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

/// Quota of a holder for a resource: the number of requests per window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) holder: Holder,
    pub(crate) resource: Resource,
    pub(crate) limit: u32,
}

/// State of a quota.
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
struct Usage {
    windows: HashMap<(Holder, Resource), Window>,
    minutes: HashMap<Holder, Minute>,
}

/// Usage of all quotas.
#[derive(Default)]
pub(crate) struct Limits {
    usage: Mutex<Usage>,
    running: Mutex<HashMap<Holder, usize>>,
}

/// A request in progress; counts it as finished when dropped.
pub(crate) struct InFlight<'a> {
    limits: &'a Limits,
    holder: Holder,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.limits.running.lock().get_mut(&self.holder) {
            *running -= 1;
        }
    }
}

impl Limits {
    /// Counts the start of a request, and returns the holder's number of requests in flight.
    pub(crate) fn enter(&self, holder: Holder) -> (InFlight<'_>, usize) {
        let mut running = self.running.lock();
        let own = running.entry(holder).or_default();
        *own += 1;
        let limits = self;
        (InFlight { limits, holder }, *own)
    }

    /// State of the quota, without a charge.
    pub(crate) fn current(&self, allowance: Allowance, now: i64) -> Quota {
        self.window(allowance, now, |_| {})
    }

    /// Charges one request, and returns the quota after it.
    pub(crate) fn consume(&self, allowance: Allowance, now: i64) -> Quota {
        self.window(allowance, now, |window| {
            window.used = window.used.saturating_add(1).min(allowance.limit);
        })
    }

    /// Exhausts the quota.
    pub(crate) fn exhaust(&self, allowance: Allowance, now: i64) -> Quota {
        self.window(allowance, now, |window| window.used = allowance.limit)
    }

    fn window(&self, allowance: Allowance, now: i64, change: impl FnOnce(&mut Window)) -> Quota {
        let mut usage = self.usage.lock();
        let window = usage
            .windows
            .entry((allowance.holder, allowance.resource))
            .or_default();
        if now >= window.ends_at {
            window.ends_at = now + allowance.resource.seconds();
            window.used = 0;
        }
        change(window);
        Quota {
            resource: allowance.resource,
            limit: allowance.limit,
            used: window.used.min(allowance.limit),
            resets_at: window.ends_at,
        }
    }

    /// Adds points of the secondary limit; returns whether they exceed it.
    pub(crate) fn exceeds_points(
        &self,
        holder: Holder,
        points: u32,
        per_minute: u32,
        now: i64,
    ) -> bool {
        let mut usage = self.usage.lock();
        let minute = usage.minutes.entry(holder).or_default();
        if minute.number != now / 60 {
            *minute = Minute {
                number: now / 60,
                points: 0,
            };
        }
        minute.points = minute.points.saturating_add(points);
        minute.points > per_minute
    }

    /// Resets all usage except requests in flight.
    pub(crate) fn reset(&self) {
        *self.usage.lock() = Usage::default();
    }
}

/// Requests per hour of an installation.
///
/// That is 5,000, plus 50 for each repository and each user above 20, at most 12,500.
pub(crate) fn hourly(base: u32, repositories: usize, users: usize) -> u32 {
    let above = |count: usize| u32::try_from(count.saturating_sub(20)).unwrap_or(u32::MAX);
    let extra = above(repositories)
        .saturating_add(above(users))
        .saturating_mul(50);
    base.saturating_add(extra).min(base.max(12_500))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn allowance(holder: Holder, resource: Resource) -> Allowance {
        Allowance {
            holder,
            resource,
            limit: 2,
        }
    }

    #[test]
    fn quota_resets_after_its_window() {
        let limits = Limits::default();
        for (resource, ends_at) in [(Resource::Core, 3_700), (Resource::Search, 160)] {
            let quota = allowance(Holder::Installation(1), resource);
            assert_eq!(limits.consume(quota, 100).remaining(), 1);
            assert_eq!(limits.consume(quota, 101).remaining(), 0);
            let current = limits.current(quota, ends_at - 1);
            assert_eq!((current.remaining(), current.resets_at), (0, ends_at));
            assert_eq!(limits.current(quota, ends_at).remaining(), 2);
        }
        let other = allowance(Holder::User(1), Resource::Core);
        assert_eq!(limits.current(other, 101).remaining(), 2);
    }

    #[test]
    fn requests_in_flight_are_counted_per_caller() {
        let limits = Limits::default();
        let (first, first_count) = limits.enter(Holder::App);
        let (_second, second_count) = limits.enter(Holder::App);
        let (_other, other_count) = limits.enter(Holder::Anonymous);
        drop(first);
        let (_third, third_count) = limits.enter(Holder::App);
        assert_eq!(
            (first_count, second_count, other_count, third_count),
            (1, 2, 1, 2)
        );
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
        assert!(!limits.exceeds_points(Holder::App, 1, 2, 60));
        assert!(!limits.exceeds_points(Holder::App, 1, 2, 61));
        assert!(limits.exceeds_points(Holder::App, 1, 2, 62));
        assert!(!limits.exceeds_points(Holder::App, 1, 2, 120));
    }
}
