//! Counters of what clients did to the simulator.
//!
//! Promises a count per route and status, named counters for what a provider
//! finds worth counting (token mints, refreshes), and how many requests ran at
//! once at most.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// Counters since the start or the last reset.
#[derive(Default)]
pub(crate) struct Stats {
    routes: Mutex<BTreeMap<String, BTreeMap<u16, u64>>>,
    counters: Mutex<BTreeMap<&'static str, u64>>,
    running: AtomicUsize,
    most_at_once: AtomicUsize,
    requests: AtomicU64,
}

/// A request in progress; counts it as finished when dropped.
pub(crate) struct Running<'a>(&'a Stats);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stats {
    /// Notes the start of a request and how many run with it.
    pub(crate) fn begin(&self) -> (Running<'_>, usize) {
        let now = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_at_once.fetch_max(now, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        (Running(self), now)
    }

    /// Notes an answer on a route.
    pub(crate) fn answered(&self, route: String, status: u16) {
        *lock(&self.routes)
            .entry(route)
            .or_default()
            .entry(status)
            .or_default() += 1;
    }

    /// Adds to a named counter.
    pub(crate) fn count(&self, name: &'static str, by: u64) {
        *lock(&self.counters).entry(name).or_default() += by;
    }

    /// Counts a forged delivery by what became of it: refused as such, not judged (no answer in
    /// time, or too busy), or anything else.
    pub(crate) fn count_forged(&self, status: u16) {
        self.count(
            match status {
                401 | 413 => "forged_refused",
                0 | 503 => "forged_unjudged",
                _ => "forged_accepted",
            },
            1,
        );
    }

    /// Everything as JSON.
    pub(crate) fn report(&self) -> Value {
        json!({
            "requests": self.requests.load(Ordering::Relaxed),
            "running": self.running.load(Ordering::Relaxed),
            "most_at_once": self.most_at_once.load(Ordering::Relaxed),
            "counters": &*lock(&self.counters),
            "routes": &*lock(&self.routes),
        })
    }

    /// Starts counting again from zero.
    pub(crate) fn reset(&self) {
        lock(&self.routes).clear();
        lock(&self.counters).clear();
        self.requests.store(0, Ordering::Relaxed);
        self.most_at_once
            .store(self.running.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
