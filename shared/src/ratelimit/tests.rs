//! Tests of blocks and waits; those with Postgres are in the package of tests.

use std::sync::Arc;

use secrecy::SecretString;

use super::*;
use crate::clock::ManualClock;
use crate::config::DatabaseConfig;
use crate::connectors::RateBudget;
use crate::db::Role;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a valid timestamp")
}

fn seen(limit: u64, remaining: u64) -> LimitObservation {
    LimitObservation {
        limit: Some(limit),
        remaining: Some(remaining),
        reset_at: Some(at(600)),
        ..LimitObservation::default()
    }
}

#[test]
fn used_up_window_blocks_until_it_ends() {
    assert_eq!(blocked_until(seen(5000, 4999), at(0)), None);
    assert_eq!(blocked_until(seen(5000, 1), at(0)), None);
    assert_eq!(blocked_until(seen(5000, 0), at(0)), Some(at(600)));
    assert_eq!(blocked_until(LimitObservation::default(), at(0)), None);
    let unknown = LimitObservation {
        remaining: None,
        ..seen(5000, 0)
    };
    assert_eq!(blocked_until(unknown, at(0)), None);
    let endless = LimitObservation {
        reset_at: None,
        ..seen(5000, 0)
    };
    assert_eq!(blocked_until(endless, at(0)), None);
}

#[test]
fn stated_block_ends_within_a_day() {
    let stated = |until| LimitObservation {
        blocked_until: Some(until),
        ..seen(5000, 0)
    };
    assert_eq!(blocked_until(stated(at(60)), at(0)), Some(at(600)));
    assert_eq!(blocked_until(stated(at(900)), at(0)), Some(at(900)));
    assert_eq!(blocked_until(stated(at(900)), at(1000)), None);
    assert_eq!(
        blocked_until(stated(at(10_000_000)), at(0)),
        Some(at(86_400))
    );
    let only = LimitObservation {
        blocked_until: Some(at(60)),
        ..LimitObservation::default()
    };
    assert_eq!(blocked_until(only, at(0)), Some(at(60)));
}

/// A rate limiter without a running Postgres.
fn limiter_without_postgres(limits: RateLimits) -> PostgresRateLimiter {
    let config = DatabaseConfig {
        url: SecretString::from("postgres://none@127.0.0.1:1/none"),
        read_url: None,
        listen_url: None,
        is_pooled: false,
        max_sessions: 1,
    };
    PostgresRateLimiter::new(
        Db::open(&config, Role::Ingress).expect("a URL"),
        Arc::new(ManualClock::new(at(0))),
        [("github", limits)],
    )
}

fn limits(per_second: f64, burst: u32) -> RateLimits {
    RateLimits {
        budgets: vec![RateBudget::per_account(per_second, burst)],
        account_concurrency: 1,
        process_concurrency: 10,
    }
}

const CALL: Charge<'static> = Charge::new("1", "get");

#[tokio::test]
async fn call_is_rejected_without_postgres() {
    let rejected = limiter_without_postgres(limits(1.0, 5))
        .admit("github", &CALL)
        .await
        .expect_err("fail closed");
    assert_eq!(rejected.retry_at, at(1));
    assert_eq!(rejected.scope, LimitScope::Account);
}

#[tokio::test]
async fn provider_without_limits_is_not_called() {
    let rejected = limiter_without_postgres(limits(1.0, 5))
        .admit("unknown", &CALL)
        .await
        .expect_err("fail closed");
    assert_eq!(rejected.retry_at, at(1));
}

#[tokio::test]
async fn call_of_a_busy_account_times_out() {
    let max_wait = Duration::from_millis(50);
    let limiter = PostgresRateLimiter {
        max_wait,
        ..limiter_without_postgres(limits(1.0, 5))
    };
    let policy = &limiter.policies["github"];
    let _held = policy.account_permit("1").await;
    let started = Instant::now();
    let rejected = limiter.admit("github", &CALL).await.expect_err("busy");
    assert!(started.elapsed() >= max_wait);
    assert_eq!(rejected.retry_at, at(1));
}

#[tokio::test]
async fn long_wait_is_rejected_with_its_end() {
    let limiter = limiter_without_postgres(limits(0.1, 1));
    let policy = &limiter.policies["github"];
    for budget in policy.budgets(&CALL) {
        policy
            .check(budget, "1")
            .expect("the only call of ten seconds");
    }
    let rejected = limiter
        .admit("github", &CALL)
        .await
        .expect_err("a long wait");
    assert!(
        rejected.retry_at > at(8) && rejected.retry_at <= at(10),
        "{rejected:?}"
    );
}
