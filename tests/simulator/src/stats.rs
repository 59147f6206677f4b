//! Counters of requests and deliveries.
//!
//! They count requests per route and status, named events of the providers (issued tokens,
//! refreshes), and the maximum number of concurrent requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::lock::Mutex;

/// Counters since the start or the last reset.
#[derive(Default)]
pub(crate) struct Stats {
    routes: Mutex<BTreeMap<String, BTreeMap<u16, u64>>>,
    counters: Mutex<BTreeMap<&'static str, u64>>,
    running: AtomicUsize,
    max_concurrent: AtomicUsize,
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
    /// Counts the start of a request, and returns the number of requests in progress.
    pub(crate) fn start_request(&self) -> (Running<'_>, usize) {
        let now = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.max_concurrent.fetch_max(now, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        (Running(self), now)
    }

    /// Counts a response of a route.
    pub(crate) fn record_response(&self, route: String, status: u16) {
        *self
            .routes
            .lock()
            .entry(route)
            .or_default()
            .entry(status)
            .or_default() += 1;
    }

    /// Adds to a named counter.
    pub(crate) fn count(&self, name: &'static str, by: u64) {
        *self.counters.lock().entry(name).or_default() += by;
    }

    /// Counts a forged delivery by its outcome.
    ///
    /// The outcomes are: refused, not judged (no response in time, or overload), and accepted.
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

    /// All counters as JSON.
    pub(crate) fn report(&self) -> Value {
        json!({
            "requests": self.requests.load(Ordering::Relaxed),
            "running": self.running.load(Ordering::Relaxed),
            "most_at_once": self.max_concurrent.load(Ordering::Relaxed),
            "counters": &*self.counters.lock(),
            "routes": &*self.routes.lock(),
        })
    }

    /// Resets all counters to zero.
    pub(crate) fn reset(&self) {
        self.routes.lock().clear();
        self.counters.lock().clear();
        self.requests.store(0, Ordering::Relaxed);
        self.max_concurrent
            .store(self.running.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}
