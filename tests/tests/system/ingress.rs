//! The webhook ingress: accepted and rejected requests, and its behaviour under failures.

use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Response;
use sha2::Sha256;
use tests::harness::{System, TestDb, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

pub(crate) const BODY: &str = r#"{"action":"opened","installation":{"id":4711}}"#;

pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

pub(crate) fn secret(system: &System) -> &str {
    &system.env["POBLYSH_GITHUB_WEBHOOK_SECRET"]
}

pub(crate) async fn post(
    system: &System,
    guid: &str,
    signature: Option<&str>,
    body: &str,
) -> Response {
    let mut request = system
        .client
        .post(format!("{}/webhooks/github", system.ingress))
        .header("X-GitHub-Event", "issues")
        .header("X-GitHub-Delivery", guid)
        .header("Content-Type", "application/json")
        .body(body.to_owned());
    if let Some(signature) = signature {
        request = request.header("X-Hub-Signature-256", signature);
    }
    request.send().await.expect("an ingress response")
}

pub(crate) async fn count_deliveries(system: &System) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM deliveries")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result")
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_unsigned_deliveries_are_refused() {
    let system = System::with_fast_provider().start().await;
    let good = signature(secret(&system), BODY.as_bytes());
    let bad = [
        None,
        Some(String::new()),
        Some("sha256=".to_owned()),
        Some(good.trim_start_matches("sha256=").to_owned()),
        Some(good.replacen("sha256", "sha1", 1)),
        Some(good[..good.len() - 2].to_owned()),
        Some(format!("{good}00")),
        Some(signature("another secret", BODY.as_bytes())),
        Some(signature("", BODY.as_bytes())),
        Some(signature(secret(&system), b"another body")),
    ];
    for signature in bad {
        let response = post(
            &system,
            &Uuid::new_v4().to_string(),
            signature.as_deref(),
            BODY,
        )
        .await;
        assert_eq!(response.status().as_u16(), 401, "{signature:?}");
        let problem: serde_json::Value = response.json().await.expect("problem+json");
        assert_eq!(problem["status"], 401);
    }
    assert_eq!(count_deliveries(&system).await, 0);
    let response = post(&system, &Uuid::new_v4().to_string(), Some(&good), BODY).await;
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(
        count_deliveries(&system).await,
        1,
        "committed before the acknowledgement"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_is_acknowledged_and_stored_once() {
    let system = System::with_fast_provider().start().await;
    let signature = signature(secret(&system), BODY.as_bytes());
    let guid = Uuid::new_v4().to_string();
    let all = (0..40).map(|_| post(&system, &guid, Some(&signature), BODY));
    // A busy machine may be late for some requests, which then receive 503.
    for response in futures::future::join_all(all).await {
        assert!(
            matches!(response.status().as_u16(), 200 | 503),
            "{}",
            response.status()
        );
    }
    let again = post(&system, &guid, Some(&signature), BODY).await;
    assert_eq!(again.status().as_u16(), 200);
    assert_eq!(count_deliveries(&system).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_batch_is_retried() {
    let db = TestDb::create().await;
    // The statement fails after 50 ms, as it does after a deadlock.
    sqlx::raw_sql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = 50', \
             current_database()); END $$",
    )
    .execute(db.pool())
    .await
    .expect("set");
    let system = System::with_fast_provider().database(db).start().await;
    let guid = Uuid::new_v4().to_string();
    let mut other = system.db.pool().begin().await.expect("a transaction");
    sqlx::query(
        "INSERT INTO delivery_dedup (tenant_id, provider, dedupe_id, received_at) \
         VALUES ('00000000-0000-0000-0000-000000000000', 'github', $1, now())",
    )
    .bind(&guid)
    .execute(&mut *other)
    .await
    .expect("a lock");
    let signature = signature(secret(&system), BODY.as_bytes());
    // While the row is locked, requests receive 503 and are sent again.
    let accepted = eventually("the delivery is accepted", async || {
        let response = post(&system, &guid, Some(&signature), BODY).await;
        response.status().as_u16() == 200
    });
    let unlock = async {
        eventually("the batch was retried", async || {
            let retries = system.metric(&system.ingress, "poblysh_inbox_retries_total", "");
            retries.await > 0.0
        })
        .await;
        other.rollback().await.expect("rolled back");
    };
    tokio::join!(accepted, unlock);
    assert_eq!(count_deliveries(&system).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_secrets_are_valid_during_rotation() {
    let system = System::with_fast_provider()
        .env(
            "POBLYSH_GITHUB_WEBHOOK_SECRET",
            "the-new-secret-of-the-app,the-old-secret-of-the-app",
        )
        .start()
        .await;
    for (secret, status) in [
        ("the-new-secret-of-the-app", 200),
        ("the-old-secret-of-the-app", 200),
        ("the-oldest", 401),
    ] {
        let signature = signature(secret, BODY.as_bytes());
        let response = post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY).await;
        assert_eq!(response.status().as_u16(), status, "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_providers_paths_and_methods_are_refused() {
    let system = System::with_fast_provider().start().await;
    for (path, status) in [
        ("/webhooks/unknown", 404),
        ("/webhooks/unknown/x", 404),
        ("/webhooks/%ff", 404),
        ("/webhooks/github/%ff", 404),
        ("/", 404),
        ("/webhooks/github", 405),
    ] {
        let url = format!("{}{path}", system.ingress);
        let response = if status == 405 {
            system.client.get(url).send().await
        } else {
            system.client.post(url).send().await
        };
        let response = response.expect("a response");
        assert_eq!(response.status().as_u16(), status, "{path}");
        let kind = &response.headers()["content-type"];
        assert_eq!(kind, "application/problem+json", "{path}");
    }
}

async fn send_raw(system: &System, head: &str, body: &[u8]) -> String {
    let address = system.ingress.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body).await.ok();
    stream.shutdown().await.ok();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.ok();
    response
}

pub(crate) fn head(length: usize) -> String {
    format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-GitHub-Event: issues\r\n\
         X-GitHub-Delivery: {}\r\nX-Hub-Signature-256: sha256={}\r\nContent-Length: {length}\r\n\r\n",
        Uuid::new_v4(),
        "0".repeat(64)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_body_is_refused_before_reading() {
    let system = System::with_fast_provider().start().await;
    let response = send_raw(&system, &head(26 << 20), b"").await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_body_is_refused() {
    let system = System::with_fast_provider().start().await;
    let response = send_raw(&system, &head(1000), b"{\"action\":").await;
    assert!(!response.starts_with("HTTP/1.1 2"), "{response}");
    assert_eq!(count_deliveries(&system).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_client_is_dropped_and_delays_no_other() {
    let system = System::with_fast_provider().start().await;
    let address = system.ingress.trim_start_matches("http://").to_owned();
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(&address).await.expect("it listens");
        stream
            .write_all(b"POST /webhooks/github HTTP/1.1\r\nHost: x\r\nX-Slow")
            .await
            .expect("sent");
        slow.push(stream);
    }
    let signature = signature(secret(&system), BODY.as_bytes());
    let response = post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY).await;
    assert_eq!(response.status().as_u16(), 200);
    let mut byte = [0; 1024];
    let first = &mut slow[0];
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while first.read(&mut byte).await.is_ok_and(|read| read > 0) {}
    });
    assert!(ended.await.is_ok(), "an incomplete head times out");
}

#[tokio::test(flavor = "multi_thread")]
async fn ingress_answers_503_without_postgres_and_recovers() {
    let system = System::with_fast_provider().through_proxy().start().await;
    let signature = signature(secret(&system), BODY.as_bytes());
    let before = post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY).await;
    assert_eq!(before.status().as_u16(), 200);
    system.proxy.cut();
    for _ in 0..3 {
        let started = Instant::now();
        let response = post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY).await;
        assert_eq!(response.status().as_u16(), 503);
        assert!(response.headers().contains_key("retry-after"));
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
    }
    let ready = format!("{}/readyz", system.ingress);
    eventually("the ingress is not ready", async || {
        system
            .client
            .get(&ready)
            .send()
            .await
            .is_ok_and(|response| response.status().as_u16() == 503)
    })
    .await;
    system.proxy.restore();
    eventually("deliveries are accepted again", async || {
        post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY)
            .await
            .status()
            .as_u16()
            == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn robots_file_admits_googles_sender() {
    let system = System::builder().start().await;
    let url = format!("{}/robots.txt", system.ingress);
    let response = system.client.get(url).send().await.expect("a response");
    assert_eq!(response.status().as_u16(), 200);
    let text = response.text().await.expect("a body");
    assert!(
        text.starts_with("User-agent: APIs-Google\nAllow: /webhooks/\n"),
        "{text}"
    );
}
