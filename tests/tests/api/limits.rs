//! What one key, one tenant and one peer may ask, and that others do not notice.

use std::time::Duration;

use reqwest::{Method, Response};
use tests::harness::eventually;
use tokio::time::Instant;

use crate::server::{Answer, Api, As, read};

const SIGNALS: &str = "/v1/signals";
const STREAM: &str = "/v1/signals/stream";

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers[name].to_str().expect("text")
}

async fn open(api: &Api, auth: As<'_>) -> Response {
    api.request(Method::GET, STREAM, auth)
        .send()
        .await
        .expect("the API answers")
}

/// The answer to a stream that is refused. One that is opened has no end.
async fn refused_stream(api: &Api, auth: As<'_>) -> Answer {
    let answer = tokio::time::timeout(Duration::from_secs(10), api.get(STREAM, auth));
    answer.await.expect("the stream is refused")
}

/// A transaction of the database's owner during which no key can be read.
async fn lock_keys(api: &Api) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = api.db.pool().begin().await.expect("begun");
    sqlx::query("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await
        .expect("locked");
    tx
}

#[tokio::test]
async fn key_over_its_limit_is_told_and_others_go_on() {
    let api = Api::with(&[
        ("POBLYSH_API_KEY_REQUESTS_PER_MINUTE", "3"),
        ("POBLYSH_API_TENANT_REQUESTS_PER_MINUTE", "1000"),
    ])
    .await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    for remaining in (0..3).rev() {
        let answer = api.get(SIGNALS, acme.auth()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            header(&answer, "ratelimit-policy"),
            "\"key\";q=3;w=60, \"tenant\";q=1000;w=60"
        );
        let left = header(&answer, "ratelimit");
        assert!(
            left.starts_with(&format!("\"key\";r={remaining};t=")),
            "{left}"
        );
    }
    let refused = api.get(SIGNALS, acme.auth()).await;
    refused.is_problem(429, "too_many_requests");
    let wait: u64 = header(&refused, "retry-after").parse().expect("seconds");
    assert!((1..=20).contains(&wait), "{wait}");
    assert!(header(&refused, "ratelimit").starts_with("\"key\";r=0;"));
    assert_eq!(api.get(SIGNALS, other.auth()).await.status, 200);
    // Operators look after everybody and have no limit of this sort.
    for _ in 0..10 {
        let answer = api.get(SIGNALS, As::OperatorOf(acme.id)).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("ratelimit"));
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
    let refused = tokio::time::timeout(Duration::from_secs(10), api.get(SIGNALS, acme.auth()));
    let refused = refused.await.expect("the key is not looked up");
    refused.is_problem(429, "too_many_requests");
    assert!(refused.headers.contains_key("ratelimit"));
    locked.rollback().await.expect("unlocked");
}

#[tokio::test]
async fn revoked_key_over_its_limit_opens_nothing() {
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
        let answer = api.get(SIGNALS, acme.auth()).await;
        if answer.status == 401 {
            break;
        }
        answer.is_problem(429, "too_many_requests");
        assert!(Instant::now() < deadline, "the key is refused");
    }
}

#[tokio::test]
async fn unknown_keys_leave_database_connections_to_others() {
    let api = Api::start().await;
    let locked = lock_keys(&api).await;
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..20 {
        let key = format!("pbk_{number:0>40}");
        guesses.spawn(api.request(Method::GET, SIGNALS, As::Key(&key)).send());
    }
    eventually("keys are looked up", async || {
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
        assert_eq!(other.expect("a connection is left").status, 200);
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
    let refused = refused_stream(&api, acme.auth()).await;
    refused.is_problem(429, "too_many_streams");
    assert!(refused.headers.contains_key("retry-after"));
    let third = open(&api, As::OperatorOf(acme.id)).await;
    assert_eq!(third.status(), 200);
    let fourth = refused_stream(&api, As::OperatorOf(acme.id)).await;
    fourth.is_problem(429, "too_many_streams");
    assert_eq!(open(&api, other.auth()).await.status(), 200);
    // One that ends makes room.
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if open(&api, acme.auth()).await.status() == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "the place comes back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn refused_credentials_are_throttled_and_good_ones_are_not() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    assert_eq!(api.get(SIGNALS, acme.auth()).await.status, 200);
    let guess = |prefix: &str, number: u32| format!("{prefix}{number:0>40}");
    let mut throttled = None;
    for number in 0..200 {
        let answer = api
            .get(SIGNALS, As::Key(&guess("pbk_aaaaaaaa", number)))
            .await;
        if answer.status == 429 {
            throttled = Some(answer);
            break;
        }
        answer.is_problem(401, "unauthorized");
    }
    let answer = throttled.expect("guesses of one prefix are throttled");
    answer.is_problem(429, "authentication_throttled");
    let wait: u64 = header(&answer, "retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    // Another prefix of the same peer is still checked, until there are too many.
    api.get(SIGNALS, As::Key("pbk_bbbbbbbb"))
        .await
        .is_problem(401, "unauthorized");
    let mut statuses = Vec::new();
    for number in 0..200 {
        let answer = api
            .get(SIGNALS, As::Key(&guess(&number.to_string(), number)))
            .await;
        statuses.push(answer.status.as_u16());
    }
    assert!(statuses.ends_with(&[429, 429]), "{statuses:?}");
    // Who was known to be good is served all the same: key and operator.
    assert_eq!(api.get(SIGNALS, acme.auth()).await.status, 200);
    assert_eq!(api.get(SIGNALS, As::OperatorOf(acme.id)).await.status, 200);
    // Without a credential nothing is tried.
    api.get(SIGNALS, As::Nobody)
        .await
        .is_problem(401, "unauthorized");
}

/// Presents a wrong key of one prefix as a client behind a proxy; answers the status.
async fn guess_from(api: &Api, forwarded: &str, number: u32) -> u16 {
    let key = format!("pbk_aaaaaaaa{number:0>40}");
    let request = api.request(Method::GET, SIGNALS, As::Key(&key));
    let answer = read(request.header("X-Forwarded-For", forwarded)).await;
    answer.status.as_u16()
}

/// Whether guesses are refused before long that come with these forwarded addresses.
async fn is_throttled(api: &Api, forwarded: impl Fn(u32) -> String) -> bool {
    for number in 0..200 {
        if guess_from(api, &forwarded(number), number).await == 429 {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn guesses_count_by_the_address_that_a_trusted_proxy_forwards() {
    let api = Api::with(&[("POBLYSH_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    // What a client puts in front of the proxy's own entry makes it nobody else.
    assert!(is_throttled(&api, |number| format!("198.51.100.{number}, 203.0.113.9")).await);
    assert_eq!(guess_from(&api, "203.0.113.10", 0).await, 401);
    // All of a /64 network of IPv6 is one client.
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
async fn idle_streams_cost_what_one_costs() {
    const STREAMS: usize = 1_000;
    const SECONDS: u64 = 6;
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let theirs = api.connection(&other).await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(open(&api, acme.auth()).await);
    }
    // Their first look is over, and its numbers have reached the statistics.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = api.db.transactions().await;
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..SECONDS {
        // Somebody else's Signals wake nobody here.
        api.signal(&other, theirs, "issue_created", 1).await;
        let asked = Instant::now();
        assert_eq!(api.get(SIGNALS, other.auth()).await.status, 200);
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = api.db.transactions().await - before;
    let spent = f64::from(i32::try_from(spent).expect("a small number"));
    let rate = spent / began.elapsed().as_secs_f64();
    // Each has at most four statements, and most have one.
    assert!(
        rate < 30.0,
        "{rate} transactions per second, slowest read {slowest:?}"
    );
    assert!(streams.iter().all(|stream| stream.status() == 200));
}
