//! Limits of keys, tenants and client addresses, which do not affect others.

use std::time::Duration;

use reqwest::{Method, Response};
use tests::harness::eventually;
use tokio::time::Instant;

use crate::server::{Api, ApiResponse, As, read};

const SIGNALS: &str = "/v1/signals";
const STREAM: &str = "/v1/signals/stream";

fn header<'a>(response: &'a ApiResponse, name: &str) -> &'a str {
    response.headers[name].to_str().expect("text")
}

async fn open(api: &Api, auth: As<'_>) -> Response {
    api.request(Method::GET, STREAM, auth)
        .send()
        .await
        .expect("a response")
}

/// The response to a rejected stream; an accepted one does not end.
async fn rejected_stream(api: &Api, auth: As<'_>) -> ApiResponse {
    let response = tokio::time::timeout(Duration::from_secs(10), api.get(STREAM, auth));
    response.await.expect("the stream is rejected")
}

/// Starts a transaction that blocks all reads of keys.
async fn lock_keys(api: &Api) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = api.db.pool().begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await
        .expect("locked");
    tx
}

#[tokio::test]
async fn key_over_its_limit_does_not_affect_others() {
    let api = Api::with(&[
        ("POBLYSH_API_KEY_REQUESTS_PER_MINUTE", "3"),
        ("POBLYSH_API_TENANT_REQUESTS_PER_MINUTE", "1000"),
    ])
    .await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    for remaining in (0..3).rev() {
        let response = api.get(SIGNALS, acme.auth()).await;
        assert_eq!(response.status, 200);
        assert_eq!(
            header(&response, "ratelimit-policy"),
            "\"key\";q=3;w=60, \"tenant\";q=1000;w=60"
        );
        let left = header(&response, "ratelimit");
        assert!(
            left.starts_with(&format!("\"key\";r={remaining};t=")),
            "{left}"
        );
    }
    let rejected = api.get(SIGNALS, acme.auth()).await;
    rejected.is_problem(429, "too_many_requests");
    let wait: u64 = header(&rejected, "retry-after").parse().expect("seconds");
    assert!((1..=20).contains(&wait), "{wait}");
    assert!(header(&rejected, "ratelimit").starts_with("\"key\";r=0;"));
    assert_eq!(api.get(SIGNALS, other.auth()).await.status, 200);
    // Operators have no request limit.
    for _ in 0..10 {
        let response = api.get(SIGNALS, As::OperatorOf(acme.id)).await;
        assert_eq!(response.status, 200);
        assert!(!response.headers.contains_key("ratelimit"));
    }
}

#[tokio::test]
async fn request_over_the_limit_needs_no_database() {
    let api = Api::with(&[("POBLYSH_API_KEY_REQUESTS_PER_MINUTE", "3")]).await;
    let acme = api.team("Acme").await;
    for _ in 0..3 {
        assert_eq!(api.get(SIGNALS, acme.auth()).await.status, 200);
    }
    let locked = lock_keys(&api).await;
    let rejected = tokio::time::timeout(Duration::from_secs(10), api.get(SIGNALS, acme.auth()));
    let rejected = rejected.await.expect("the key is not read");
    rejected.is_problem(429, "too_many_requests");
    assert!(rejected.headers.contains_key("ratelimit"));
    locked.rollback().await.expect("unlocked");
}

#[tokio::test]
async fn revoked_key_over_its_limit_is_rejected() {
    let api = Api::with(&[("POBLYSH_API_KEY_REQUESTS_PER_MINUTE", "60")]).await;
    let acme = api.team("Acme").await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while api.get(SIGNALS, acme.auth()).await.status != 429 {
        assert!(Instant::now() < deadline, "the limit is reached");
    }
    let path = format!("/v1/tenants/{}/api-keys", acme.id);
    let keys = api.get(&path, As::Operator).await.ok();
    let key = keys["api_keys"][0]["id"].as_str().expect("an id");
    let revoked = api.delete(&format!("{path}/{key}"), As::Operator).await;
    assert!(revoked.status.is_success(), "{}", revoked.body);
    loop {
        let response = api.get(SIGNALS, acme.auth()).await;
        if response.status == 401 {
            break;
        }
        response.is_problem(429, "too_many_requests");
        assert!(Instant::now() < deadline, "the key is rejected");
    }
}

#[tokio::test]
async fn unknown_keys_do_not_exhaust_the_pool() {
    let api = Api::start().await;
    let locked = lock_keys(&api).await;
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..20 {
        let key = format!("pbk_{number:0>40}");
        guesses.spawn(api.request(Method::GET, SIGNALS, As::Key(&key)).send());
    }
    eventually("lookups of keys are blocked", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_locks WHERE relation = 'api_keys'::regclass AND NOT granted",
        )
        .fetch_one(api.db.pool())
        .await
        .expect("a number");
        waiting >= 2
    })
    .await;
    for _ in 0..10 {
        let other = api.get("/v1/tenants", As::Operator);
        let other = tokio::time::timeout(Duration::from_secs(3), other).await;
        assert_eq!(other.expect("a free session").status, 200);
    }
    locked.rollback().await.expect("unlocked");
}

#[tokio::test]
async fn streams_of_key_and_tenant_are_limited() {
    let api = Api::with(&[
        ("POBLYSH_API_KEY_MAX_STREAMS", "2"),
        ("POBLYSH_API_TENANT_MAX_STREAMS", "3"),
    ])
    .await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let first = open(&api, acme.auth()).await;
    let second = open(&api, acme.auth()).await;
    assert!(first.status().is_success() && second.status().is_success());
    let rejected = rejected_stream(&api, acme.auth()).await;
    rejected.is_problem(429, "too_many_streams");
    assert!(rejected.headers.contains_key("retry-after"));
    let third = open(&api, As::OperatorOf(acme.id)).await;
    assert_eq!(third.status(), 200);
    let fourth = rejected_stream(&api, As::OperatorOf(acme.id)).await;
    fourth.is_problem(429, "too_many_streams");
    assert_eq!(open(&api, other.auth()).await.status(), 200);
    // A closed stream frees its permit.
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if open(&api, acme.auth()).await.status() == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "the permit is freed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn only_rejected_credentials_are_throttled() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    assert_eq!(api.get(SIGNALS, acme.auth()).await.status, 200);
    let guess = |prefix: &str, number: u32| format!("{prefix}{number:0>40}");
    let mut throttled = None;
    for number in 0..200 {
        let response = api
            .get(SIGNALS, As::Key(&guess("pbk_aaaaaaaa", number)))
            .await;
        if response.status == 429 {
            throttled = Some(response);
            break;
        }
        response.is_problem(401, "unauthorized");
    }
    let response = throttled.expect("guesses of one prefix are throttled");
    response.is_problem(429, "authentication_throttled");
    let wait: u64 = header(&response, "retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    // Other prefixes of the same address are verified until the limit per client.
    api.get(SIGNALS, As::Key("pbk_bbbbbbbb"))
        .await
        .is_problem(401, "unauthorized");
    let mut statuses = Vec::new();
    for number in 0..200 {
        let response = api
            .get(SIGNALS, As::Key(&guess(&number.to_string(), number)))
            .await;
        statuses.push(response.status.as_u16());
    }
    assert!(statuses.ends_with(&[429, 429]), "{statuses:?}");
    // Recently accepted credentials are exempt: key and operator.
    assert_eq!(api.get(SIGNALS, acme.auth()).await.status, 200);
    assert_eq!(api.get(SIGNALS, As::OperatorOf(acme.id)).await.status, 200);
    // A missing credential is not counted.
    api.get(SIGNALS, As::Anonymous)
        .await
        .is_problem(401, "unauthorized");
}

/// Sends an invalid key as a client behind a proxy; returns the status.
async fn guess_from(api: &Api, forwarded: &str, number: u32) -> u16 {
    let key = format!("pbk_aaaaaaaa{number:0>40}");
    let request = api.request(Method::GET, SIGNALS, As::Key(&key));
    let response = read(request.header("X-Forwarded-For", forwarded)).await;
    response.status.as_u16()
}

/// Whether 200 guesses with these forwarded addresses are throttled.
async fn is_throttled(api: &Api, forwarded: impl Fn(u32) -> String) -> bool {
    for number in 0..200 {
        if guess_from(api, &forwarded(number), number).await == 429 {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn guesses_are_counted_by_forwarded_address() {
    let api = Api::with(&[("POBLYSH_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    // Only the last entry counts, which the proxy appends.
    assert!(is_throttled(&api, |number| format!("198.51.100.{number}, 203.0.113.9")).await);
    assert_eq!(guess_from(&api, "203.0.113.10", 0).await, 401);
    // A /64 network of IPv6 is one client.
    assert!(is_throttled(&api, |number| format!("2001:db8:1:1::{number:x}")).await);
    assert_eq!(guess_from(&api, "2001:db8:1:2::1", 0).await, 401);
}

#[tokio::test]
async fn forwarded_address_of_an_untrusted_peer_is_ignored() {
    let api = Api::start().await;
    assert!(is_throttled(&api, |number| format!("203.0.113.{number}")).await);
    assert_eq!(guess_from(&api, "203.0.113.250", 0).await, 429);
}

#[tokio::test]
async fn idle_streams_cost_the_same_as_one() {
    const STREAMS: usize = 1_000;
    const SECONDS: u64 = 6;
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let theirs = api.connection(&other).await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(open(&api, acme.auth()).await);
    }
    // Wait until the first reads are in the statistics.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = api.db.transactions().await;
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..SECONDS {
        // Signals of another tenant notify none of the streams.
        api.signal(&other, theirs, "issue_created", 1).await;
        let started_at = Instant::now();
        assert_eq!(api.get(SIGNALS, other.auth()).await.status, 200);
        slowest = slowest.max(started_at.elapsed());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = api.db.transactions().await - before;
    let spent = f64::from(i32::try_from(spent).expect("a small number"));
    let rate = spent / began.elapsed().as_secs_f64();
    // The watcher polls ten times per second; most polls are one statement.
    assert!(
        rate < 30.0,
        "{rate} transactions per second, slowest read {slowest:?}"
    );
    assert!(streams.iter().all(|stream| stream.status() == 200));
}
