//! What one key, one tenant and one peer may ask, and that others do not notice.

use std::time::Duration;

use reqwest::{Method, Response};
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

/// Transactions of the database so far.
async fn transactions(api: &Api) -> i64 {
    sqlx::query_scalar(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database \
         WHERE datname = current_database()",
    )
    .fetch_one(api.db.pool())
    .await
    .expect("a number")
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
    let refused = api.get(STREAM, acme.auth()).await;
    refused.is_problem(429, "too_many_streams");
    assert!(refused.headers.contains_key("retry-after"));
    let third = open(&api, As::OperatorOf(acme.id)).await;
    assert_eq!(third.status(), 200);
    let fourth = api.get(STREAM, As::OperatorOf(acme.id)).await;
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
    let before = transactions(&api).await;
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
    let spent = transactions(&api).await - before;
    let spent = f64::from(i32::try_from(spent).expect("a small number"));
    let rate = spent / began.elapsed().as_secs_f64();
    // Each has at most four statements, and most have one.
    assert!(
        rate < 30.0,
        "{rate} transactions per second, slowest read {slowest:?}"
    );
    assert!(streams.iter().all(|stream| stream.status() == 200));
}
