//! The slack of a budget: late calls lose no rate, and no window has more calls than the limit.

use std::time::{Duration, Instant};

use shared::connectors::{RateBudget, RateLimits};
use shared::http::RateLimiter;
use tests::harness::TestDb;

use super::{call, worker};

/// Time between two calls at the steady rate.
const PACE: Duration = Duration::from_millis(400);
const SLACK: Duration = Duration::from_millis(300);
/// Calls of this test.
const CALLS: u32 = 12;
/// The most calls in a window of [`window`].
const MAX_CALLS: u32 = 5;

/// A window that the steady rate fills with [`MAX_CALLS`].
fn window() -> Duration {
    (PACE * MAX_CALLS).saturating_sub(SLACK)
}

fn limits() -> RateLimits {
    RateLimits {
        budgets: vec![RateBudget {
            slack: SLACK,
            ..RateBudget::per_account(1.0 / PACE.as_secs_f64(), 1)
        }],
        account_concurrency: 4,
        process_concurrency: 4,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_calls_of_restarted_workers_stay_within_the_limit() {
    let test = TestDb::create().await;
    let started = Instant::now();
    let mut admitted = Vec::new();
    for number in 0..CALLS {
        // Each call is that of a worker that has just started, and every third one is late.
        let worker = worker(&test, limits());
        if number % 3 == 2 {
            tokio::time::sleep(SLACK).await;
        }
        let permit = worker.admit("any", &call("account")).await;
        permit.expect("a short wait is slept through");
        admitted.push(started.elapsed());
    }
    let count = usize::try_from(MAX_CALLS).expect("few calls");
    for pair in admitted.windows(count + 1) {
        let span = pair[count].saturating_sub(pair[0]);
        // A call may return some milliseconds before its time by this clock.
        let least = window().saturating_sub(Duration::from_millis(50));
        assert!(span >= least, "{span:?} of {:?}: {admitted:?}", window());
    }
    let steady = (PACE * (CALLS - 1)).saturating_sub(SLACK);
    let last = admitted.last().copied().unwrap_or_default();
    assert!(
        last + Duration::from_millis(50) >= steady,
        "{last:?} of {steady:?}"
    );
}
