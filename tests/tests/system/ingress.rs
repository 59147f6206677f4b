//! The port providers post to: what it takes, what it refuses, what it survives.

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
    request.send().await.expect("the ingress answers")
}

pub(crate) async fn stored(system: &System) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM deliveries")
        .fetch_one(system.db.pool())
        .await
        .expect("Postgres answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_unsigned_deliveries_are_refused_and_leave_nothing() {
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
        let answer = post(
            &system,
            &Uuid::new_v4().to_string(),
            signature.as_deref(),
            BODY,
        )
        .await;
        assert_eq!(answer.status().as_u16(), 401, "{signature:?}");
        let problem: serde_json::Value = answer.json().await.expect("problem+json");
        assert_eq!(problem["status"], 401);
    }
    assert_eq!(stored(&system).await, 0);
    let answer = post(&system, &Uuid::new_v4().to_string(), Some(&good), BODY).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(
        stored(&system).await,
        1,
        "committed before it was acknowledged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_acknowledged_and_stored_once() {
    let system = System::with_fast_provider().start().await;
    let signature = signature(secret(&system), BODY.as_bytes());
    let guid = Uuid::new_v4().to_string();
    let all = (0..40).map(|_| post(&system, &guid, Some(&signature), BODY));
    // A machine that is busy may be late for some, and says so.
    for answer in futures::future::join_all(all).await {
        assert!(
            matches!(answer.status().as_u16(), 200 | 503),
            "{}",
            answer.status()
        );
    }
    let again = post(&system, &guid, Some(&signature), BODY).await;
    assert_eq!(again.status().as_u16(), 200);
    assert_eq!(stored(&system).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_transaction_is_in_the_way_of_is_tried_again() {
    let db = TestDb::create().await;
    // Gives up soon, like a statement that is ended because of a deadlock.
    sqlx::raw_sql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = 50', \
             current_database()); END $$",
    )
    .execute(db.pool())
    .await
    .expect("set");
    let system = System::with_fast_provider().database(db).start().await;
    let guid = Uuid::new_v4().to_string();
    let mut other = system.db.pool().begin().await.expect("begun");
    sqlx::query(
        "INSERT INTO delivery_ledger (tenant_id, provider, dedupe_id, received_at) \
         VALUES ('00000000-0000-0000-0000-000000000000', 'github', $1, now())",
    )
    .bind(&guid)
    .execute(&mut *other)
    .await
    .expect("in the way");
    let signature = signature(secret(&system), BODY.as_bytes());
    // As long as it is in the way, a request is told to come again, and comes.
    let taken = eventually("it is taken", async || {
        let answer = post(&system, &guid, Some(&signature), BODY).await;
        answer.status().as_u16() == 200
    });
    let gone = async {
        eventually("its batch was tried again", async || {
            let retries = system.metric(&system.ingress, "inbox_retries_total", "");
            retries.await > 0.0
        })
        .await;
        other.rollback().await.expect("rolled back");
    };
    tokio::join!(taken, gone);
    assert_eq!(stored(&system).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_secrets_are_good_during_rotation() {
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
        let answer = post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY).await;
        assert_eq!(answer.status().as_u16(), status, "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_providers_paths_and_methods_are_refused() {
    let system = System::with_fast_provider().start().await;
    for (path, status) in [
        ("/webhooks/nobody", 404),
        ("/webhooks/nobody/x", 404),
        ("/webhooks/%ff", 404),
        ("/webhooks/github/%ff", 404),
        ("/", 404),
        ("/webhooks/github", 405),
    ] {
        let url = format!("{}{path}", system.ingress);
        let answer = if status == 405 {
            system.client.get(url).send().await
        } else {
            system.client.post(url).send().await
        };
        let answer = answer.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let kind = &answer.headers()["content-type"];
        assert_eq!(kind, "application/problem+json", "{path}");
    }
}

async fn raw(system: &System, head: &str, body: &[u8]) -> String {
    let address = system.ingress.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body).await.ok();
    stream.shutdown().await.ok();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok();
    answer
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
async fn an_oversized_body_is_refused_before_it_is_read() {
    let system = System::with_fast_provider().start().await;
    let answer = raw(&system, &head(26 << 20), b"").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_body_is_refused() {
    let system = System::with_fast_provider().start().await;
    let answer = raw(&system, &head(1000), b"{\"action\":").await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_eq!(stored(&system).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_dropped_and_holds_up_nobody() {
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
    let answer = post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY).await;
    assert_eq!(answer.status().as_u16(), 200);
    let mut byte = [0; 1024];
    let first = &mut slow[0];
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while first.read(&mut byte).await.is_ok_and(|read| read > 0) {}
    });
    assert!(ended.await.is_ok(), "a head that never ends is given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_it_says_503_and_recovers_by_itself() {
    let system = System::with_fast_provider().wired().start().await;
    let signature = signature(secret(&system), BODY.as_bytes());
    let before = post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY).await;
    assert_eq!(before.status().as_u16(), 200);
    system.wire.cut();
    for _ in 0..3 {
        let asked = Instant::now();
        let answer = post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY).await;
        assert_eq!(answer.status().as_u16(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
    }
    let ready = format!("{}/readyz", system.ingress);
    eventually("unready", async || {
        system
            .client
            .get(&ready)
            .send()
            .await
            .is_ok_and(|answer| answer.status().as_u16() == 503)
    })
    .await;
    system.wire.mend();
    eventually("taking again", async || {
        post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY)
            .await
            .status()
            .as_u16()
            == 200
    })
    .await;
}
