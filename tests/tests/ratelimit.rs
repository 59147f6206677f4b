//! One budget: a provider's limit is shared by all workers, not multiplied by their number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{LimitScope, RateBudget, RateLimits, RateUnit};
use shared::http::{Charge, LimitObservation, RateGate, Refused};
use shared::ids::TenantId;
use shared::ratelimit::Governor;
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

fn usual() -> RateLimits {
    limits(PER_SECOND, BURST)
}

/// A call for an account.
const fn call(account: &str) -> Charge<'_> {
    Charge::new(account, "get")
}

/// The gate of one worker, with a pool of its own.
fn worker(test: &TestDb, limits: RateLimits) -> Arc<Governor> {
    let db = test.as_worker(4);
    Arc::new(Governor::new(db, Arc::new(SystemClock), [("any", limits)]))
}

fn silence(seconds: i64) -> LimitObservation {
    LimitObservation {
        blocked_until: Some(SystemClock.now() + TimeDelta::seconds(seconds)),
        ..LimitObservation::default()
    }
}

async fn refused(worker: &Governor, account: &str) -> Refused {
    worker
        .admit("any", &call(account))
        .await
        .expect_err("the account is blocked")
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_together_keep_one_rate() {
    let test = TestDb::create().await;
    let workers = [
        worker(&test, usual()),
        worker(&test, usual()),
        worker(&test, usual()),
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
            "call {before} went out after {at:?} already"
        );
    }
    // Were nothing admitted, nothing would be too early: the burst at least goes out.
    assert!(admitted.len() >= BURST as usize, "{admitted:?}");
    assert!(admitted.len() < 60, "the rest was refused and comes back");
}

#[tokio::test]
async fn what_one_worker_learns_about_an_account_holds_for_all() {
    let test = TestDb::create().await;
    let (one, two) = (worker(&test, usual()), worker(&test, usual()));
    one.admit("any", &call("account"))
        .await
        .expect("free at first");

    let reset_at = SystemClock.now() + TimeDelta::seconds(60);
    let scarce = LimitObservation {
        limit: Some(5000),
        remaining: Some(499),
        reset_at: Some(reset_at),
        ..LimitObservation::default()
    };
    one.observe("any", &call("account"), scarce).await;

    for worker in [&one, &two] {
        let refused = refused(worker, "account").await;
        assert_eq!(refused.scope, LimitScope::Account);
        assert!(
            (refused.retry_at - reset_at).abs() < TimeDelta::seconds(2),
            "{refused:?}"
        );
    }
    two.admit("any", &call("another account"))
        .await
        .expect("others are free");

    two.observe("any", &call("account"), silence(5)).await;
    let refused = refused(&two, "account").await;
    assert!(
        refused.retry_at > reset_at - TimeDelta::seconds(2),
        "a silence is never shortened"
    );
}

#[tokio::test]
async fn a_limit_of_the_whole_provider_holds_for_every_account() {
    let test = TestDb::create().await;
    let (one, two) = (worker(&test, usual()), worker(&test, usual()));
    one.admit("any", &call("known"))
        .await
        .expect("free at first");
    let everywhere = LimitObservation {
        reach: LimitScope::Provider,
        ..silence(60)
    };
    one.observe("any", &call("known"), everywhere).await;
    for account in ["known", "new"] {
        assert_eq!(refused(&two, account).await.scope, LimitScope::Provider);
    }
}

#[tokio::test]
async fn a_short_wait_is_waited_for_and_a_long_one_refused() {
    let test = TestDb::create().await;
    let (one, two) = (worker(&test, usual()), worker(&test, usual()));
    one.observe("any", &call("short"), silence(1)).await;
    let until = SystemClock.now() + TimeDelta::milliseconds(800);
    two.admit("any", &call("short")).await.expect("waited for");
    assert!(SystemClock.now() > until, "the silence was kept");

    let slow = || limits(0.01, 1);
    let (one, two) = (worker(&test, slow()), worker(&test, slow()));
    one.admit("any", &call("slow"))
        .await
        .expect("the first call");
    let started = Instant::now();
    let refused = refused(&two, "slow").await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "it did not sleep"
    );
    assert!(
        refused.retry_at > SystemClock.now() + TimeDelta::seconds(60),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_refused_call_takes_nothing_from_the_budget() {
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
        refused(&worker(&test, slow()), "slow").await;
    }
    assert_eq!(tat().await, before);
}

#[tokio::test]
async fn what_a_call_turned_out_to_cost_is_waited_out_by_all_accounts() {
    let test = TestDb::create().await;
    let in_points = || RateLimits {
        budgets: vec![RateBudget {
            reach: LimitScope::Provider,
            unit: RateUnit::Points,
            ..RateBudget::per_account(10.0, 20)
        }],
        ..usual()
    };
    let (one, two) = (worker(&test, in_points()), worker(&test, in_points()));
    one.admit("any", &call("a")).await.expect("the first call");
    let dear = LimitObservation {
        spent: 101,
        ..LimitObservation::default()
    };
    one.observe("any", &call("a"), dear).await;
    let refused = refused(&two, "b").await;
    assert_eq!(refused.scope, LimitScope::Provider);
    // 101 points less the 20 that may come at once, at 10 a second.
    let wait = refused.retry_at - SystemClock.now();
    assert!(
        wait > TimeDelta::seconds(6) && wait < TimeDelta::seconds(10),
        "{wait}"
    );
}

/// Reads an account's past on behalf of a tenant.
fn past(account: &str, tenant: TenantId) -> Charge<'_> {
    Charge {
        bulk: Some(tenant),
        ..call(account)
    }
}

#[tokio::test]
async fn tenants_that_read_their_past_have_equal_shares() {
    let test = TestDb::create().await;
    let divided = || RateLimits {
        budgets: vec![RateBudget {
            reach: LimitScope::Provider,
            unit: RateUnit::Points,
            bulk: true,
            ..RateBudget::per_account(10.0, 20)
        }],
        ..usual()
    };
    let (one, two) = (worker(&test, divided()), worker(&test, divided()));
    let (long, short) = (TenantId::generate(), TenantId::generate());
    let costs = |spent| LimitObservation {
        spent,
        ..LimitObservation::default()
    };
    for (account, tenant, spent) in [("c", short, 1), ("a", long, 41)] {
        let charge = past(account, tenant);
        one.admit("any", &charge).await.expect("within the burst");
        one.observe("any", &charge, costs(spent)).await;
    }
    let wait = async |account, tenant| {
        let refused = two.admit("any", &past(account, tenant)).await;
        refused.expect_err("the burst is used up").retry_at - SystemClock.now()
    };
    // However many accounts a tenant has, its share is one.
    let (of_long, of_short) = (wait("b", long).await, wait("c", short).await);
    // All together are 23 points in debt at 10 a second; the long one's share is 32 at 5.
    assert!(of_short < TimeDelta::milliseconds(2500), "{of_short}");
    assert!(of_long > TimeDelta::milliseconds(4500), "{of_long}");
    two.admit("any", &call("a"))
        .await
        .expect("what is not of the past does not wait");
}
