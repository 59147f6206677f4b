//! Quotas of a window: the even use, the reserve, and the shares of polls, tenants and passes.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use shared::clock::{Clock, SystemClock};
use shared::connectors::{RateBudget, RateLimits, RateQuota, RateUnit};
use shared::http::{Charge, LimitObservation, Priority, RateLimited, RateLimiter};
use shared::model::{LimitScope, TenantId};
use shared::ratelimit::PostgresRateLimiter;
use tests::harness::TestDb;

use super::{call, default_limits, worker};

/// A backfill call for an account and tenant.
fn backfill(account: &str, tenant: TenantId) -> Charge<'_> {
    Charge {
        priority: Priority::Backfill(tenant),
        ..call(account)
    }
}

/// A poll of an account.
fn poll(account: &str) -> Charge<'_> {
    Charge {
        priority: Priority::Poll,
        ..call(account)
    }
}

#[tokio::test]
async fn backfilling_tenants_have_equal_shares() {
    let test = TestDb::create().await;
    let shared_limits = || RateLimits {
        budgets: vec![RateBudget {
            scope: LimitScope::Provider,
            unit: RateUnit::Points,
            ..with_quota(1000.0, 1, 100)
        }],
        ..default_limits()
    };
    let (one, two) = (
        worker(&test, shared_limits()),
        worker(&test, shared_limits()),
    );
    let (large, small) = (TenantId::generate(), TenantId::generate());
    let costs = |spent| LimitObservation {
        spent,
        ..LimitObservation::default()
    };
    // 61 of 100 points are used; the rest is spread over ten seconds.
    for (account, tenant, spent) in [("c", small, 1), ("a", large, 50), ("a", large, 10)] {
        let charge = backfill(account, tenant);
        one.admit("any", &charge).await.expect("below the quota");
        one.observe("any", &charge, costs(spent)).await;
    }
    let wait = async |account, tenant| {
        let rejected = two.admit("any", &backfill(account, tenant)).await;
        rejected
            .expect_err("the shared quota is overdrawn")
            .retry_at
            - SystemClock.now()
    };
    // A tenant has one share, regardless of its number of accounts.
    let (wait_large, wait_small) = (wait("b", large).await, wait("c", small).await);
    assert!(
        wait_large > wait_small + TimeDelta::seconds(1),
        "{wait_large} {wait_small}"
    );
    two.admit("any", &call("a"))
        .await
        .expect("calls that are not a backfill do not wait");
}

/// Budget per account with a quota of `units` in ten seconds.
fn with_quota(per_second: f64, burst: u32, units: u32) -> RateBudget {
    RateBudget {
        quota: Some(RateQuota {
            units,
            window: Duration::from_secs(10),
            reserve: 0.1,
            poll_share: Some(0.3),
        }),
        ..RateBudget::per_account(per_second, burst)
    }
}

fn quota_of(units: u32) -> RateLimits {
    RateLimits {
        budgets: vec![with_quota(1000.0, 1000, units)],
        ..default_limits()
    }
}

/// Makes calls in sequence until one is rejected, and returns the time of each admission.
async fn admitted(
    worker: &PostgresRateLimiter,
    charge: Charge<'_>,
    max_calls: usize,
) -> (Vec<Duration>, Option<RateLimited>) {
    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < max_calls {
        match worker.admit("any", &charge).await {
            Ok(_) => times.push(started.elapsed()),
            Err(rejected) => return (times, Some(rejected)),
        }
    }
    (times, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_is_used_in_burst_then_evenly() {
    let test = TestDb::create().await;
    let worker = worker(&test, quota_of(20));
    let charge = backfill("a", TenantId::generate());
    let (times, _) = admitted(&worker, charge, 17).await;
    // Half of 20 immediately, 8 over the rest of the window; 2 are the reserve.
    assert_eq!(times.len(), 17, "{times:?}");
    assert!(times[9] < Duration::from_millis(1500), "{times:?}");
    assert!(times[16] > Duration::from_secs(6), "{times:?}");
}

#[tokio::test]
async fn reserve_admits_only_calls_that_cannot_wait() {
    let test = TestDb::create().await;
    let worker = worker(&test, quota_of(20));
    let charge = backfill("a", TenantId::generate());
    worker.admit("any", &charge).await.expect("the first call");
    let reported = LimitObservation {
        limit: Some(20),
        remaining: Some(2),
        reset_at: Some(SystemClock.now() + TimeDelta::seconds(10)),
        ..LimitObservation::default()
    };
    worker.observe("any", &charge, reported).await;
    let rejected = worker
        .admit("any", &charge)
        .await
        .expect_err("only the reserve is left");
    assert!(rejected.retry_at > SystemClock.now() + TimeDelta::seconds(8));
    let (times, _) = admitted(&worker, call("a"), 2).await;
    assert_eq!(times.len(), 2);
}

#[tokio::test]
async fn polls_use_only_their_share_of_the_quota() {
    let test = TestDb::create().await;
    let worker = worker(&test, quota_of(1000));
    let (times, _) = admitted(&worker, poll("a"), 200).await;
    // 300 of 1,000: a quarter immediately, the rest over the remaining window.
    assert!(times[70] < Duration::from_secs(3), "{:?}", times[70]);
    assert!(times[199] > Duration::from_secs(4), "{:?}", times[199]);
    worker
        .admit("any", &backfill("a", TenantId::generate()))
        .await
        .expect("more than half of the quota is left");
}

/// Sets the used units of the window, and how many of them polls used.
async fn set_used(test: &TestDb, used: i32, polled: i32) {
    sqlx::query(
        "UPDATE rate_budgets SET tat = now(), paced_tat = now(), window_used = $1, \
             window_polled = $2, window_ends_at = now() + interval '10 seconds'",
    )
    .bind(used)
    .bind(polled)
    .execute(test.pool())
    .await
    .expect("an update");
}

#[tokio::test]
async fn reconciliation_leaves_polls_a_share() {
    let test = TestDb::create().await;
    let pass = Charge {
        priority: Priority::Reconciliation,
        ..call("a")
    };
    // Polls have 30 of 100 units, of which reconciliation may use up to 21.
    let with_share = worker(&test, quota_of(100));
    with_share
        .admit("any", &poll("a"))
        .await
        .expect("the first poll");
    for (polled, may_pass) in [(19, true), (22, false)] {
        set_used(&test, polled, polled).await;
        let admitted = with_share.admit("any", &pass).await.is_ok();
        assert_eq!(admitted, may_pass, "{polled}");
    }
    let poll_result = with_share.admit("any", &poll("a")).await;
    poll_result.expect("a poll is admitted");
    // Without a poll share, reconciliation leaves 30 of all units to polls.
    let mut limits = quota_of(100);
    for budget in &mut limits.budgets {
        budget.quota = budget.quota.map(|quota| RateQuota {
            poll_share: None,
            ..quota
        });
    }
    let without = worker(&test, limits);
    for (used, may_pass) in [(60, true), (71, false)] {
        set_used(&test, used, 0).await;
        let admitted = without.admit("any", &pass).await.is_ok();
        assert_eq!(admitted, may_pass, "{used}");
    }
    let poll_result = without.admit("any", &poll("a")).await;
    poll_result.expect("a poll is admitted");
}

#[tokio::test]
async fn reconciliation_is_admitted_at_a_quota_of_one() {
    let test = TestDb::create().await;
    let mut limits = quota_of(1);
    for budget in &mut limits.budgets {
        budget.quota = budget.quota.map(|quota| RateQuota {
            reserve: 0.0,
            poll_share: None,
            ..quota
        });
    }
    let pass = Charge {
        priority: Priority::Reconciliation,
        ..call("a")
    };
    let worker = worker(&test, limits);
    worker.admit("any", &pass).await.expect("the only unit");
    let rejected = worker.admit("any", &pass).await;
    rejected.expect_err("the window has no unit left");
}

#[tokio::test]
async fn free_responses_do_not_use_the_poll_share() {
    let test = TestDb::create().await;
    let worker = worker(&test, quota_of(100));
    let free = LimitObservation {
        spent: 0,
        limit: Some(100),
        remaining: Some(100),
        reset_at: Some(SystemClock.now() + TimeDelta::seconds(10)),
        ..LimitObservation::default()
    };
    let conditional = Charge {
        is_conditional: true,
        ..poll("a")
    };
    let started = Instant::now();
    for _ in 0..200 {
        let permit = worker.admit("any", &conditional).await;
        drop(permit.expect("free calls are admitted"));
        worker.observe("any", &conditional, free).await;
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "free calls were delayed"
    );
    // A conditional call that is charged counts when its response arrives.
    let charged = LimitObservation { spent: 1, ..free };
    for _ in 0..29 {
        worker.observe("any", &conditional, charged).await;
    }
    let rejected = worker.admit("any", &conditional).await;
    assert!(rejected.is_err(), "polls have only 30 of 100 units");
}

#[tokio::test]
async fn pace_follows_the_reported_quota() {
    let test = TestDb::create().await;
    let (one, two) = (worker(&test, quota_of(100)), worker(&test, quota_of(100)));
    let charge = backfill("a", TenantId::generate());
    one.admit("any", &charge).await.expect("the first call");
    // Another app has used most of the quota: 10 units above the reserve for 100 seconds.
    let reported = LimitObservation {
        limit: Some(100),
        remaining: Some(20),
        reset_at: Some(SystemClock.now() + TimeDelta::seconds(100)),
        ..LimitObservation::default()
    };
    one.observe("any", &charge, reported).await;
    // The burst of one second is used first.
    let (times, rejected) = admitted(&two, charge, 20).await;
    assert!(times.len() <= 2, "{times:?}");
    let wait = rejected.expect("calls are ten seconds apart").retry_at - SystemClock.now();
    assert!(
        wait > TimeDelta::seconds(2) && wait <= TimeDelta::seconds(12),
        "{wait}"
    );
}
