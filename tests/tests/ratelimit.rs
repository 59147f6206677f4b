//! One budget: a provider's limit is shared by all workers, not multiplied by their number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use shared::clock::{Clock, SystemClock};
use shared::connectors::{LimitScope, RateBudget, RateLimits, RateQuota, RateUnit};
use shared::http::{Charge, LimitObservation, Priority, RateGate, Refused, page};
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
        remaining: Some(0),
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
fn backfill(account: &str, tenant: TenantId) -> Charge<'_> {
    Charge {
        priority: Priority::Backfill(tenant),
        ..call(account)
    }
}

/// Polls an account.
fn poll(account: &str) -> Charge<'_> {
    Charge {
        priority: Priority::Poll,
        ..call(account)
    }
}

#[tokio::test]
async fn tenants_that_backfill_have_equal_shares() {
    let test = TestDb::create().await;
    let divided = || RateLimits {
        budgets: vec![RateBudget {
            reach: LimitScope::Provider,
            unit: RateUnit::Points,
            ..with_quota(1000.0, 1, 100)
        }],
        ..usual()
    };
    let (one, two) = (worker(&test, divided()), worker(&test, divided()));
    let (long, short) = (TenantId::generate(), TenantId::generate());
    let costs = |spent| LimitObservation {
        spent,
        ..LimitObservation::default()
    };
    // Sixty of a hundred points in all: what is left is spread over ten seconds.
    for (account, tenant, spent) in [("c", short, 1), ("a", long, 50), ("a", long, 10)] {
        let charge = backfill(account, tenant);
        one.admit("any", &charge).await.expect("not scarce yet");
        one.observe("any", &charge, costs(spent)).await;
    }
    let wait = async |account, tenant| {
        let refused = two.admit("any", &backfill(account, tenant)).await;
        refused.expect_err("all together are in debt").retry_at - SystemClock.now()
    };
    // However many accounts a tenant has, its share is one.
    let (of_long, of_short) = (wait("b", long).await, wait("c", short).await);
    assert!(
        of_long > of_short + TimeDelta::seconds(1),
        "{of_long} {of_short}"
    );
    two.admit("any", &call("a"))
        .await
        .expect("what is not of the past does not wait");
}

/// So many calls per account, of which so many are allowed in ten seconds.
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
        ..usual()
    }
}

/// Makes calls one after the other until one is refused; answers when each was admitted.
async fn admitted(
    worker: &Governor,
    charge: Charge<'_>,
    most: usize,
) -> (Vec<Duration>, Option<Refused>) {
    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < most {
        match worker.admit("any", &charge).await {
            Ok(_) => times.push(started.elapsed()),
            Err(refused) => return (times, Some(refused)),
        }
    }
    (times, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_is_used_fast_at_first_and_then_evenly() {
    let test = TestDb::create().await;
    let worker = worker(&test, quota_of(20));
    let charge = backfill("a", TenantId::generate());
    let (times, _) = admitted(&worker, charge, 17).await;
    // Half of twenty at once, and eight more over the rest of the window; two are the reserve.
    assert_eq!(times.len(), 17, "{times:?}");
    assert!(times[9] < Duration::from_millis(1500), "{times:?}");
    assert!(times[16] > Duration::from_secs(6), "{times:?}");
}

#[tokio::test]
async fn reserve_is_for_calls_that_cannot_wait() {
    let test = TestDb::create().await;
    let worker = worker(&test, quota_of(20));
    let charge = backfill("a", TenantId::generate());
    worker.admit("any", &charge).await.expect("free at first");
    let stated = LimitObservation {
        limit: Some(20),
        remaining: Some(2),
        reset_at: Some(SystemClock.now() + TimeDelta::seconds(10)),
        ..LimitObservation::default()
    };
    worker.observe("any", &charge, stated).await;
    let refused = worker.admit("any", &charge).await.expect_err("used up");
    assert!(refused.retry_at > SystemClock.now() + TimeDelta::seconds(8));
    let (times, _) = admitted(&worker, call("a"), 2).await;
    assert_eq!(times.len(), 2);
}

#[tokio::test]
async fn polls_leave_most_of_the_quota_to_others() {
    let test = TestDb::create().await;
    let worker = worker(&test, quota_of(1000));
    let (times, _) = admitted(&worker, poll("a"), 200).await;
    // Three hundred of a thousand: a quarter at once, the others over the rest of the window.
    assert!(times[70] < Duration::from_secs(3), "{:?}", times[70]);
    assert!(times[199] > Duration::from_secs(4), "{:?}", times[199]);
    worker
        .admit("any", &backfill("a", TenantId::generate()))
        .await
        .expect("more than half of the quota is left");
}

#[tokio::test]
async fn page_that_has_begun_waits_for_its_other_calls() {
    let test = TestDb::create().await;
    // A call in two and a half seconds, which is longer than a call by itself waits.
    let worker = worker(&test, limits(0.4, 1));
    worker.admit("any", &call("a")).await.expect("the first");
    let refused = worker
        .admit("any", &call("a"))
        .await
        .expect_err("by itself");
    let first = page(worker.admit("any", &call("a"))).await;
    assert!(first.is_err(), "a page that has not begun gives up");
    let wait = refused.retry_at - SystemClock.now();
    tokio::time::sleep(wait.to_std().unwrap_or_default()).await;
    let started = Instant::now();
    page(async {
        for _ in 0..2 {
            let place = worker.admit("any", &call("a")).await;
            drop(place.expect("the page goes on"));
        }
    })
    .await;
    let elapsed = started.elapsed();
    assert!(elapsed > Duration::from_secs(2), "{elapsed:?}");
}

/// So much of a hundred units is used, and so much of it by polls.
async fn set_used(test: &TestDb, used: i32, polled: i32) {
    sqlx::query(
        "UPDATE rate_budgets SET tat = now(), paced_tat = now(), window_used = $1, \
             window_polled = $2, window_ends_at = now() + interval '10 seconds'",
    )
    .bind(used)
    .bind(polled)
    .execute(test.pool())
    .await
    .expect("Postgres answers");
}

#[tokio::test]
async fn reconciliation_leaves_a_part_of_the_quota_to_polls() {
    let test = TestDb::create().await;
    let pass = Charge {
        priority: Priority::Reconciliation,
        ..call("a")
    };
    // Thirty of a hundred are for polls, and a pass may use what is left of 21.
    let with_share = worker(&test, quota_of(100));
    with_share.admit("any", &poll("a")).await.expect("free");
    for (polled, may_pass) in [(19, true), (22, false)] {
        set_used(&test, polled, polled).await;
        let admitted = with_share.admit("any", &pass).await.is_ok();
        assert_eq!(admitted, may_pass, "{polled}");
    }
    let goes_on = with_share.admit("any", &poll("a")).await;
    goes_on.expect("a poll goes on");
    // Where polls have no part of their own, a pass leaves them thirty of the whole.
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
    let goes_on = without.admit("any", &poll("a")).await;
    goes_on.expect("a poll goes on");
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
    let refused = worker.admit("any", &pass).await;
    refused.expect_err("the unit of the window is used");
}

#[tokio::test]
async fn answers_that_cost_nothing_use_no_share_of_polls() {
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
        let place = worker.admit("any", &conditional).await;
        drop(place.expect("nothing is used"));
        worker.observe("any", &conditional, free).await;
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "not slowed down"
    );
    // What is charged after all is counted by its answer.
    let charged = LimitObservation { spent: 1, ..free };
    for _ in 0..29 {
        worker.observe("any", &conditional, charged).await;
    }
    let refused = worker.admit("any", &conditional).await;
    assert!(refused.is_err(), "thirty of a hundred are for polls");
}

#[tokio::test]
async fn pace_follows_the_quota_that_answers_state() {
    let test = TestDb::create().await;
    let (one, two) = (worker(&test, quota_of(100)), worker(&test, quota_of(100)));
    let charge = backfill("a", TenantId::generate());
    one.admit("any", &charge).await.expect("free at first");
    // Another app has used most of it: 10 are left above the reserve, for 100 seconds.
    let stated = LimitObservation {
        limit: Some(100),
        remaining: Some(20),
        reset_at: Some(SystemClock.now() + TimeDelta::seconds(100)),
        ..LimitObservation::default()
    };
    one.observe("any", &charge, stated).await;
    // The tolerance of a second is used first.
    let (times, refused) = admitted(&two, charge, 20).await;
    assert!(times.len() <= 2, "{times:?}");
    let wait = refused.expect("ten seconds apart").retry_at - SystemClock.now();
    assert!(
        wait > TimeDelta::seconds(2) && wait <= TimeDelta::seconds(12),
        "{wait}"
    );
}
