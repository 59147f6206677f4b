//! The ingress under attack: memory, sockets, framing and disk.

use std::time::Duration;

use serde_json::{Value, json};
use tests::harness::{OPERATOR_TOKEN, System, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::ingress::{BODY, count_deliveries, head, post, secret, signature};

/// Sends a head without the body.
async fn send_head(address: &str, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = head(length);
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

/// Sends a new head after each response and forwards the responses.
async fn send_heads(
    mut stream: TcpStream,
    address: String,
    length: usize,
    responses: UnboundedSender<String>,
) {
    loop {
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.ok();
        let response = String::from_utf8_lossy(&response).into_owned();
        responses.send(response).ok();
        stream = send_head(&address, length).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_bodies_block_no_delivery() {
    let system = System::with_fast_provider().start().await;
    let address = system.ingress.trim_start_matches("http://").to_owned();
    let (sender, mut responses) = unbounded_channel();
    let mut idle = JoinSet::new();
    for _ in 0..96 {
        let stream = send_head(&address, 25 << 20).await;
        idle.spawn(send_heads(
            stream,
            address.clone(),
            25 << 20,
            sender.clone(),
        ));
    }
    let signature = signature(secret(&system), BODY.as_bytes());
    for _ in 0..30 {
        let response = post(&system, &Uuid::new_v4().to_string(), Some(&signature), BODY).await;
        assert_eq!(response.status().as_u16(), 200);
    }
    let response = tokio::time::timeout(Duration::from_secs(20), responses.recv()).await;
    let response = response.expect("a missing body times out");
    let response = response.expect("a response");
    assert!(response.starts_with("HTTP/1.1 408"), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sockets_do_not_block_health_checks() {
    let system = System::with_fast_provider().start().await;
    for server in [&system.ingress, &system.api] {
        let address = server.trim_start_matches("http://");
        let mut idle = Vec::new();
        for _ in 0..4_200 {
            match TcpStream::connect(address).await {
                Ok(stream) => idle.push(stream),
                // This process, which includes the server, has no more file descriptors.
                Err(_) => break,
            }
        }
        // The client needs a file descriptor.
        idle.truncate(idle.len().saturating_sub(8));
        assert!(idle.len() > 400, "{}", idle.len());
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .expect("a client");
        for _ in 0..3 {
            let response = client.get(format!("{server}/livez")).send().await;
            assert_eq!(
                response.expect("a response").status().as_u16(),
                200,
                "{server}"
            );
        }
    }
}

/// Sends a request and reads until the server closes the socket.
async fn exchange(system: &System, head: &str) -> String {
    let address = system.ingress.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = [head.as_bytes(), BODY.as_bytes()].concat();
    stream.write_all(&request).await.expect("sent");
    let mut response = String::new();
    let read = stream.read_to_string(&mut response);
    let ended = tokio::time::timeout(Duration::from_secs(10), read).await;
    ended.expect("the server closes").expect("a response");
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguously_framed_requests_are_rejected() {
    let system = System::with_fast_provider().start().await;
    let signature = signature(secret(&system), BODY.as_bytes());
    let length = BODY.len();
    let signed = format!(
        "X-GitHub-Event: issues\r\nX-GitHub-Delivery: d-1\r\nX-Hub-Signature-256: {signature}\r\n"
    );
    let line = "POST /webhooks/github HTTP/1.1";
    for head in [
        format!("{line}\r\n{signed}Content-Length: {length}\r\n\r\n"),
        format!("{line}\r\nHost: x\n{signed}Content-Length: {length}\r\n\r\n"),
        format!(
            "{line}\r\nHost: x\r\n{signed}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n"
        ),
    ] {
        let response = exchange(&system, &head).await;
        assert!(response.starts_with("HTTP/1.1 400"), "{head}: {response}");
    }
    assert_eq!(count_deliveries(&system).await, 0);
    let whole = format!(
        "{line}\r\nHost: x\r\n{signed}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let response = exchange(&system, &whole).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(
        response.contains("x-content-type-options: nosniff"),
        "{response}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_move_to_their_own_listener() {
    let own = tests::harness::free_address();
    let api = tests::harness::free_address();
    let system = System::with_fast_provider()
        .env("POBLYSH_INGRESS_TELEMETRY_BIND_ADDR", own.to_string())
        .env("POBLYSH_API_TELEMETRY_BIND_ADDR", api.to_string())
        .start()
        .await;
    for path in ["/livez", "/readyz", "/metrics"] {
        for (base, status) in [
            (format!("http://{own}"), 200),
            (format!("http://{api}"), 200),
            (system.ingress.clone(), 404),
            (system.api.clone(), 404),
        ] {
            let response = system.client.get(format!("{base}{path}")).send().await;
            assert_eq!(
                response.expect("a response").status().as_u16(),
                status,
                "{base}{path}"
            );
        }
    }
    let hook = format!("http://{own}/webhooks/github");
    let response = system.client.post(hook).send().await.expect("a response");
    assert_eq!(response.status().as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn unmatched_deliveries_have_a_quota() {
    let system = System::with_fast_provider()
        .env("POBLYSH_INGRESS_UNMATCHED_ACCOUNT_MIB", "1")
        .start()
        .await;
    let filler = "x".repeat(400 << 10);
    let body = |account: u64| {
        format!(r#"{{"action":"opened","installation":{{"id":{account}}},"filler":"{filler}"}}"#)
    };
    for (account, count) in [(4711, 5), (4712, 1)] {
        for _ in 0..count {
            let body = body(account);
            let signature = signature(secret(&system), body.as_bytes());
            let response = post(
                &system,
                &Uuid::new_v4().to_string(),
                Some(&signature),
                &body,
            )
            .await;
            assert_eq!(response.status().as_u16(), 200);
        }
    }
    // Two deliveries of 400 KiB fit into a mebibyte; each account has its own quota.
    assert_eq!(count_deliveries(&system).await, 3);
    let response = system
        .client
        .get(format!("{}/v1/unmatched-accounts", system.api))
        .bearer_auth(OPERATOR_TOKEN)
        .send()
        .await
        .expect("an API response");
    let list: Value = response.json().await.expect("JSON");
    let counts: Vec<_> = list["unmatched_accounts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (&one["account_id"], &one["deliveries"], &one["over_quota"]))
        .collect();
    assert_eq!(json!(counts), json!([["4711", 2, 3], ["4712", 1, 0]]));
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM delivery_dedup")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result");
    assert_eq!(seen, 6, "every delivery's id is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_backlog_blocks_no_other() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.accounts = 2)
        .workers(0)
        .env("POBLYSH_INGRESS_TENANT_BACKLOG_MIB", "1")
        .start()
        .await;
    let filler = "x".repeat(300 << 10);
    let mut bodies = Vec::new();
    for (name, (account, admin)) in ["Acme", "Globex"].iter().zip(system.accounts().await) {
        let tenant = system.tenant(name).await;
        tenant.connect(&account, &admin).await;
        let connections = tenant.get("/v1/connections").await;
        let installation = connections["connections"][0]["account"]["id"].clone();
        let installation = installation.as_str().expect("an id").to_owned();
        bodies.push(format!(
            r#"{{"action":"opened","installation":{{"id":{installation}}},"filler":"{filler}"}}"#
        ));
    }
    let send = async |body: &String| {
        let signature = signature(secret(&system), body.as_bytes());
        let response = post(&system, &Uuid::new_v4().to_string(), Some(&signature), body).await;
        response.status().as_u16()
    };
    eventually("the first tenant has its share", async || {
        send(&bodies[0]).await == 503
    })
    .await;
    assert_eq!(send(&bodies[1]).await, 200, "the other has its own share");
    assert_eq!(send(&bodies[0]).await, 503);
}
