//! The cache against an HTTP server.

use std::time::Duration;

use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::*;
use crate::clock::{Clock, ManualClock};

const MODULUS: &str = include_str!("../../crypto/test-key.modulus");

struct Fixture {
    server: MockServer,
    clock: Arc<ManualClock>,
    jwks: Jwks,
}

fn key_set(ids: &[&str]) -> ResponseTemplate {
    let keys = ids.iter().map(|id| {
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
                "n": MODULUS.trim(), "e": "AQAB" })
    });
    ResponseTemplate::new(200)
        .insert_header("cache-control", "public, max-age=21600")
        .set_body_json(json!({ "keys": keys.collect::<Vec<_>>() }))
}

impl Fixture {
    async fn new(response: ResponseTemplate) -> Self {
        let start = DateTime::from_timestamp(1_700_000_000, 0).expect("a timestamp");
        let clock = Arc::new(ManualClock::new(start));
        let server = MockServer::start().await;
        let url = format!("{}/certs", server.uri()).parse().expect("a URL");
        let fixture = Self {
            jwks: Jwks::new("test", url, clock.clone()),
            server,
            clock,
        };
        fixture.respond(response).await;
        fixture
    }

    async fn respond(&self, response: ResponseTemplate) {
        self.server.reset().await;
        Mock::given(matchers::path("/certs"))
            .respond_with(response)
            .mount(&self.server)
            .await;
    }

    /// Looks a key up and waits for the fetch that the lookup started, if any.
    async fn find(&self, id: &str) -> bool {
        let known = self.jwks.keys_with(id).is_some();
        self.wait_for_fetch().await;
        known
    }

    async fn wait_for_fetch(&self) {
        let is_fetching = || Arc::strong_count(&self.jwks.0) > 1;
        let fetched = async {
            while is_fetching() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, fetched).await.expect("an end");
    }

    async fn fetches(&self) -> usize {
        let requests = self.server.received_requests().await;
        requests.expect("recorded requests").len()
    }
}

#[tokio::test]
async fn first_lookup_starts_a_fetch() {
    let fixture = Fixture::new(key_set(&["a", "b"])).await;
    assert!(!fixture.find("a").await, "it does not wait");
    assert!(fixture.find("a").await && fixture.find("b").await);
    assert_eq!(fixture.fetches().await, 1);
}

#[tokio::test]
async fn prepared_cache_knows_keys_at_once() {
    let fixture = Fixture::new(key_set(&["a"])).await;
    fixture.jwks.prepare();
    fixture.wait_for_fetch().await;
    fixture.jwks.prepare();
    assert!(fixture.find("a").await);
    assert_eq!(fixture.fetches().await, 1);
}

#[tokio::test]
async fn unknown_keys_cause_one_fetch_per_minute() {
    let fixture = Fixture::new(key_set(&["a"])).await;
    for number in 0..200 {
        assert!(!fixture.find(&format!("made-up-{number}")).await);
        fixture.clock.advance(TimeDelta::seconds(1));
    }
    assert_eq!(fixture.fetches().await, 4);
    assert!(fixture.find("a").await);
}

#[tokio::test]
async fn rotated_key_is_found_by_next_fetch() {
    let fixture = Fixture::new(key_set(&["a"])).await;
    fixture.find("a").await;
    fixture.respond(key_set(&["b"])).await;
    assert!(!fixture.find("b").await);
    assert_eq!(fixture.fetches().await, 0, "within a minute");
    fixture.clock.advance(MIN_FETCH_INTERVAL);
    assert!(!fixture.find("b").await);
    assert!(fixture.find("b").await);
    assert!(!fixture.find("a").await, "it was withdrawn");
}

#[tokio::test]
async fn stale_keys_are_refetched_in_background() {
    let fixture = Fixture::new(key_set(&["a"])).await;
    fixture.find("a").await;
    fixture
        .clock
        .advance(TimeDelta::hours(6) - TimeDelta::seconds(1));
    assert!(fixture.find("a").await);
    assert_eq!(fixture.fetches().await, 1, "they are fresh");
    fixture.clock.advance(TimeDelta::seconds(1));
    assert!(fixture.find("a").await);
    assert_eq!(fixture.fetches().await, 2);
    assert!(fixture.find("a").await);
    assert_eq!(fixture.fetches().await, 2);
}

#[tokio::test]
async fn keys_outlive_a_short_outage_only() {
    let failures = [
        ResponseTemplate::new(503),
        ResponseTemplate::new(200).set_body_string("<html>a proxy</html>"),
        ResponseTemplate::new(200).set_body_json(json!({ "keys": [] })),
        ResponseTemplate::new(200).set_body_bytes(vec![b' '; MAX_BODY + 1]),
        ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/certs"),
    ];
    for failure in failures {
        let fixture = Fixture::new(key_set(&["a"])).await;
        fixture.find("a").await;
        fixture.respond(failure).await;
        fixture.clock.advance(TimeDelta::hours(6));
        assert!(fixture.find("a").await && fixture.find("a").await);
        assert_eq!(fixture.fetches().await, 1);
        fixture.clock.advance(MAX_STALE);
        assert!(!fixture.find("a").await);
        fixture.respond(key_set(&["a"])).await;
        fixture.clock.advance(MIN_FETCH_INTERVAL);
        fixture.find("a").await;
        assert!(fixture.find("a").await);
    }
}

#[tokio::test]
async fn clock_set_back_does_not_stop_fetches() {
    let fixture = Fixture::new(ResponseTemplate::new(503)).await;
    let start = fixture.clock.now();
    fixture.find("a").await;
    fixture.clock.advance(TimeDelta::days(-30));
    assert!(fixture.clock.now() < start);
    fixture.find("a").await;
    assert_eq!(fixture.fetches().await, 2);
}

#[test]
fn lookup_outside_a_runtime_answers_from_memory() {
    let url = "http://127.0.0.1:1/".parse().expect("a URL");
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    assert!(Jwks::new("test", url, clock).keys_with("a").is_none());
}
