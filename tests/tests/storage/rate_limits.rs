//! The rate limiter: all workers share one budget per limit.

mod quota;
mod slack;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{RateBudget, RateLimits, RateUnit};
use shared::http::{Charge, LimitObservation, RateLimited, RateLimiter, with_page_deadline};
use shared::model::LimitScope;
use shared::ratelimit::PostgresRateLimiter;
use tests::harness::TestDb;

const PER_SECOND: f64 = 10.0;
const BURST: u32 = 5;

fn limits(per_second: f64, burst: u32) -> RateLimits {
    RateLimits {
        budgets: vec![RateBudget::per_account(per_second, burst)],
        account_concurrency: 100,
        process_concurrency: 100,
    }
}

fn default_limits() -> RateLimits {
    limits(PER_SECOND, BURST)
}

/// A call for an account.
const fn call(account: &str) -> Charge<'_> {
    Charge::new(account, "get")
}

/// The rate limiter of one worker, with a separate pool.
fn worker(test: &TestDb, limits: RateLimits) -> Arc<PostgresRateLimiter> {
    let db = test.as_worker(4);
    Arc::new(PostgresRateLimiter::new(
        db,
        Arc::new(SystemClock),
        [("any", limits)],
    ))
}

fn blocked_for(seconds: i64) -> LimitObservation {
    LimitObservation {
        blocked_until: Some(SystemClock.now() + TimeDelta::seconds(seconds)),
        ..LimitObservation::default()
    }
}

async fn rejected(worker: &PostgresRateLimiter, account: &str) -> RateLimited {
    worker
        .admit("any", &call(account))
        .await
        .expect_err("the account is blocked")
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_share_one_rate() {
    let test = TestDb::create().await;
    let workers = [
        worker(&test, default_limits()),
        worker(&test, default_limits()),
        worker(&test, default_limits()),
    ];

    let started = Instant::now();
    let calls: Vec<_> = (0..60)
        .map(|number| {
            let worker = Arc::clone(&workers[number % 3]);
            tokio::spawn(async move {
                worker
                    .admit("any", &call("account"))
                    .await
                    .is_ok()
                    .then(|| started.elapsed())
            })
        })
        .collect();
    let mut admitted: Vec<Duration> = Vec::new();
    for call in calls {
        admitted.extend(call.await.expect("no panic"));
    }

    admitted.sort();
    for (before, at) in admitted.iter().enumerate() {
        let before = u32::try_from(before).expect("few calls");
        let allowed = f64::from(BURST) + at.as_secs_f64() * PER_SECOND;
        assert!(
            f64::from(before) < allowed,
            "call {before} was admitted too early, after {at:?}"
        );
    }
    // The burst must be admitted, or the check above could not fail.
    assert!(admitted.len() >= BURST as usize, "{admitted:?}");
    assert!(admitted.len() < 60, "the limiter rejected no call");
}

#[tokio::test]
async fn observation_of_one_worker_applies_to_all() {
    let test = TestDb::create().await;
    let (one, two) = (
        worker(&test, default_limits()),
        worker(&test, default_limits()),
    );
    one.admit("any", &call("account"))
        .await
        .expect("the first call");

    let reset_at = SystemClock.now() + TimeDelta::seconds(60);
    let exhausted = LimitObservation {
        limit: Some(5000),
        remaining: Some(0),
        reset_at: Some(reset_at),
        ..LimitObservation::default()
    };
    one.observe("any", &call("account"), exhausted).await;

    for worker in [&one, &two] {
        let rejected = rejected(worker, "account").await;
        assert_eq!(rejected.scope, LimitScope::Account);
        assert!(
            (rejected.retry_at - reset_at).abs() < TimeDelta::seconds(2),
            "{rejected:?}"
        );
    }
    two.admit("any", &call("another account"))
        .await
        .expect("other accounts are not blocked");

    two.observe("any", &call("account"), blocked_for(5)).await;
    let rejected = rejected(&two, "account").await;
    assert!(
        rejected.retry_at > reset_at - TimeDelta::seconds(2),
        "a later observation must not shorten the block"
    );
}

#[tokio::test]
async fn provider_limit_applies_to_every_account() {
    let test = TestDb::create().await;
    let (one, two) = (
        worker(&test, default_limits()),
        worker(&test, default_limits()),
    );
    one.admit("any", &call("known"))
        .await
        .expect("the first call");
    let provider_wide = LimitObservation {
        scope: LimitScope::Provider,
        ..blocked_for(60)
    };
    one.observe("any", &call("known"), provider_wide).await;
    for account in ["known", "new"] {
        assert_eq!(rejected(&two, account).await.scope, LimitScope::Provider);
    }
}

#[tokio::test]
async fn short_blocks_are_awaited_and_long_ones_rejected() {
    let test = TestDb::create().await;
    let (one, two) = (
        worker(&test, default_limits()),
        worker(&test, default_limits()),
    );
    one.observe("any", &call("short"), blocked_for(1)).await;
    let until = SystemClock.now() + TimeDelta::milliseconds(800);
    two.admit("any", &call("short"))
        .await
        .expect("admitted after the wait");
    assert!(SystemClock.now() > until, "admitted before the block ended");

    let slow = || limits(0.01, 1);
    let (one, two) = (worker(&test, slow()), worker(&test, slow()));
    one.admit("any", &call("slow"))
        .await
        .expect("the first call");
    let started = Instant::now();
    let rejected = rejected(&two, "slow").await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "the limiter waited before it rejected"
    );
    assert!(
        rejected.retry_at > SystemClock.now() + TimeDelta::seconds(60),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn rejected_call_is_not_charged() {
    let test = TestDb::create().await;
    let slow = || limits(0.01, 1);
    worker(&test, slow())
        .admit("any", &call("slow"))
        .await
        .expect("the first call");
    let tat = || async {
        sqlx::query_scalar::<_, chrono::DateTime<Utc>>(
            "SELECT tat FROM rate_budgets WHERE provider = 'any' AND account_id = 'slow'",
        )
        .fetch_one(test.pool())
        .await
        .expect("a row")
    };
    let before = tat().await;
    for _ in 0..5 {
        rejected(&worker(&test, slow()), "slow").await;
    }
    assert_eq!(tat().await, before);
}

#[tokio::test]
async fn observed_cost_delays_all_accounts() {
    let test = TestDb::create().await;
    let point_limits = || RateLimits {
        budgets: vec![RateBudget {
            scope: LimitScope::Provider,
            unit: RateUnit::Points,
            ..RateBudget::per_account(10.0, 20)
        }],
        ..default_limits()
    };
    let (one, two) = (worker(&test, point_limits()), worker(&test, point_limits()));
    one.admit("any", &call("a")).await.expect("the first call");
    let expensive = LimitObservation {
        spent: 101,
        ..LimitObservation::default()
    };
    one.observe("any", &call("a"), expensive).await;
    let rejected = rejected(&two, "b").await;
    assert_eq!(rejected.scope, LimitScope::Provider);
    // 101 points, minus a burst of 20, at 10 points per second.
    let wait = rejected.retry_at - SystemClock.now();
    assert!(
        wait > TimeDelta::seconds(6) && wait < TimeDelta::seconds(10),
        "{wait}"
    );
}

#[tokio::test]
async fn started_page_waits_for_its_other_calls() {
    let test = TestDb::create().await;
    // One call per 2.5 s, which is longer than a call outside of a page waits.
    let worker = worker(&test, limits(0.4, 1));
    worker
        .admit("any", &call("a"))
        .await
        .expect("the first call");
    let rejected = worker
        .admit("any", &call("a"))
        .await
        .expect_err("the wait is too long outside of a page");
    let (first, _) = with_page_deadline(worker.admit("any", &call("a"))).await;
    assert!(first.is_err(), "a page must not wait for its first call");
    let wait = rejected.retry_at - SystemClock.now();
    tokio::time::sleep(wait.to_std().unwrap_or_default()).await;
    let started = Instant::now();
    with_page_deadline(async {
        for _ in 0..2 {
            let permit = worker.admit("any", &call("a")).await;
            drop(permit.expect("a started page waits"));
        }
    })
    .await;
    let elapsed = started.elapsed();
    assert!(elapsed > Duration::from_secs(2), "{elapsed:?}");
}
