//! Limits per client and provider on sockets, memory and speed.
//!
//! Clients have different loopback addresses, or different addresses in a proxy's header.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use reqwest::Response;
use tests::harness::{System, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ingress::{BODY, post, secret, signature};

const MIB: usize = 1 << 20;
/// A third of a client's 64 MiB, and a sixth of a provider's 128 MiB.
const INCOMPLETE_BYTES: usize = 21 * MIB;

/// Starts a system behind a proxy, which is this process.
async fn start_behind_proxy() -> System {
    System::with_fast_provider()
        .workers(0)
        .env("POBLYSH_TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await
}

fn address(server: &str) -> SocketAddr {
    let text = server.trim_start_matches("http://");
    text.parse().expect("an address")
}

/// Head of a delivery with an invalid signature.
fn head(client: &str, length: usize) -> String {
    format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\
         X-GitHub-Event: issues\r\nX-GitHub-Delivery: {}\r\nX-Hub-Signature-256: sha256={}\r\n\
         Content-Length: {length}\r\n\r\n",
        Uuid::new_v4(),
        "0".repeat(64)
    )
}

/// Sends a delivery without its last byte.
async fn send_incomplete(system: &System, client: &str, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address(&system.ingress))
        .await
        .expect("it listens");
    let head = head(client, length + 1);
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b' '; length]).await.expect("sent");
    stream
}

/// Sends a delivery with an invalid signature and returns the status: 401 once it was read.
async fn send_unsigned(system: &System, path: &str, client: &str, length: usize) -> u16 {
    let request = system
        .client
        .post(format!("{}{path}", system.ingress))
        .header("X-Forwarded-For", client)
        .header("X-GitHub-Event", "issues")
        .header("X-GitHub-Delivery", Uuid::new_v4().to_string())
        .header("X-Hub-Signature-256", "sha256=00")
        .header("X-Slack-Signature", "v0=00")
        .header("X-Slack-Request-Timestamp", "0")
        .body(vec![b' '; length]);
    let response: Response = request.send().await.expect("an ingress response");
    response.status().as_u16()
}

/// Sends three incomplete deliveries, which use nearly all memory of a client.
async fn send_incomplete_share(system: &System, client: &str) -> [TcpStream; 3] {
    let held = tokio::join!(
        send_incomplete(system, client, INCOMPLETE_BYTES),
        send_incomplete(system, client, INCOMPLETE_BYTES),
        send_incomplete(system, client, INCOMPLETE_BYTES)
    );
    held.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_one_client_is_bounded() {
    let system = start_behind_proxy().await;
    let held = send_incomplete_share(&system, "203.0.113.1").await;
    eventually("the client's share is used up", async || {
        send_unsigned(&system, "/webhooks/github", "203.0.113.1", 2 * MIB).await == 503
    })
    .await;
    let other = send_unsigned(&system, "/webhooks/github", "203.0.113.2", 2 * MIB).await;
    assert_eq!(other, 401, "another client has its own share");
    drop(held);
    eventually("the memory is released", async || {
        send_unsigned(&system, "/webhooks/github", "203.0.113.1", 2 * MIB).await == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_one_provider_is_bounded() {
    let system = start_behind_proxy().await;
    let _held = tokio::join!(
        send_incomplete_share(&system, "203.0.113.1"),
        send_incomplete_share(&system, "203.0.113.2")
    );
    eventually("the provider's share is used up", async || {
        send_unsigned(&system, "/webhooks/github", "203.0.113.3", 3 * MIB).await == 503
    })
    .await;
    let other = send_unsigned(&system, "/webhooks/slack", "203.0.113.3", 3 * MIB).await;
    assert_eq!(other, 401, "another provider has its own share");
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_bodies_per_client_is_bounded() {
    let system = start_behind_proxy().await;
    let announced = (0..1_024).map(|_| async {
        let stream = TcpStream::connect(address(&system.ingress)).await;
        let mut stream = stream.expect("enough descriptors: ulimit -n");
        let head = head("203.0.113.1", 1);
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream
    });
    let _announced = futures::future::join_all(announced).await;
    eventually("the client's share is used up", async || {
        send_unsigned(&system, "/webhooks/github", "203.0.113.1", 1).await == 503
    })
    .await;
    let other = send_unsigned(&system, "/webhooks/github", "203.0.113.2", 1).await;
    assert_eq!(other, 401, "another client has its own share");
}

/// Opens a socket from a loopback address.
async fn connect_from(local: [u8; 4], server: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((local, 0)))?;
    socket.connect(address(server)).await
}

/// Sends a request on a socket; `None` if the socket is closed.
async fn request_health(stream: &mut TcpStream) -> Option<String> {
    let request = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut response = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut response)).await;
    let length = read.ok()?.ok()?;
    Some(String::from_utf8_lossy(&response[..length]).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_cannot_close_sockets_of_others() {
    let system = System::with_fast_provider().workers(0).start().await;
    for server in [&system.ingress, &system.api] {
        let mut kept = connect_from([127, 0, 0, 1], server)
            .await
            .expect("a socket");
        let response = request_health(&mut kept).await.expect("a response");
        assert!(response.starts_with("HTTP/1.1 200"), "{server}: {response}");
        // More sockets than the server keeps, each idle for less time than `kept`.
        let flood = (0..4_200).map(async |_| {
            let stream = connect_from([127, 0, 0, 2], server).await;
            let mut stream = stream.expect("enough descriptors: ulimit -n");
            request_health(&mut stream).await;
            stream
        });
        let flood = futures::stream::iter(flood).buffer_unordered(64);
        let _flood: Vec<_> = flood.collect().await;
        let response = request_health(&mut kept).await.unwrap_or_default();
        assert!(response.starts_with("HTTP/1.1 200"), "{server}: {response}");
    }
    let good = signature(secret(&system), BODY.as_bytes());
    let response = post(&system, &Uuid::new_v4().to_string(), Some(&good), BODY).await;
    assert_eq!(response.status().as_u16(), 200);
}

/// Opens a socket with a request in flight, whose body is never sent.
///
/// Returns `None` if the server does not wait for the body.
async fn open_busy_socket(local: [u8; 4], server: &str) -> Option<TcpStream> {
    let stream = connect_from(local, server).await;
    let mut stream = stream.expect("enough descriptors: ulimit -n");
    let head = "POST /v1/connect/github/start HTTP/1.1\r\nHost: x\r\n\
                Expect: 100-continue\r\nContent-Length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut response = [0; 64];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut response)).await;
    let length = read.ok()?.ok()?;
    response[..length]
        .starts_with(b"HTTP/1.1 100")
        .then_some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_sockets_do_not_exclude_other_clients() {
    let system = System::with_fast_provider().workers(0).start().await;
    let flood = (0..4_200).map(|number| {
        let last = [2, 3, 4, 5][number % 4];
        open_busy_socket([127, 0, 0, last], &system.api)
    });
    let flood = futures::stream::iter(flood).buffer_unordered(64);
    let flood: Vec<_> = flood.collect().await;
    let held = flood.iter().flatten().count();
    assert!(held > 4_000, "{held}");
    for _ in 0..3 {
        let mut other = connect_from([127, 0, 0, 1], &system.api)
            .await
            .expect("a socket");
        let request = "GET /v1/signals HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        other.write_all(request.as_bytes()).await.expect("sent");
        let mut response = String::new();
        let read = other.read_to_string(&mut response);
        let ended = tokio::time::timeout(Duration::from_secs(10), read).await;
        ended.expect("a response in time").expect("a response");
        assert!(response.starts_with("HTTP/1.1 401"), "{response}");
    }
}

/// Measures how long an unused socket stays open.
async fn measure_idle_timeout(server: &str) -> Duration {
    let mut stream = TcpStream::connect(address(server))
        .await
        .expect("it listens");
    let opened = Instant::now();
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    let ended = tokio::time::timeout(Duration::from_mins(1), end).await;
    // The server may close or reset the socket.
    assert!(ended.is_ok(), "the socket stays open");
    opened.elapsed()
}

/// Sends a delivery at `bytes` per 100 ms; returns the response and its time.
async fn send_slowly(system: &System, bytes: usize, length: usize) -> (String, Duration) {
    let mut stream = TcpStream::connect(address(&system.ingress))
        .await
        .expect("it listens");
    let started = Instant::now();
    let head = head("203.0.113.1", length);
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut response = vec![0; 4096];
    let mut sent = 0;
    loop {
        if sent < length {
            let part = vec![b' '; bytes.min(length - sent)];
            sent += part.len();
            // The server may have responded and closed the socket already.
            stream.write_all(&part).await.ok();
        }
        let pause = Duration::from_millis(100);
        if let Ok(read) = tokio::time::timeout(pause, stream.read(&mut response)).await {
            let length = read.unwrap_or(0);
            let text = String::from_utf8_lossy(&response[..length]).into_owned();
            return (text, started.elapsed());
        }
        assert!(started.elapsed() < Duration::from_mins(1), "no response");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_disconnected() {
    let system = start_behind_proxy().await;
    let (ingress, api, slow, steady, endless) = tokio::join!(
        measure_idle_timeout(&system.ingress),
        measure_idle_timeout(&system.api),
        // 10 KiB/s; 320 KiB/s for six seconds; 320 KiB/s for longer than the time limit of a body.
        send_slowly(&system, 1 << 10, MIB),
        send_slowly(&system, 32 << 10, 60 * (32 << 10)),
        send_slowly(&system, 32 << 10, 24 * MIB),
    );
    for unused in [ingress, api] {
        assert!((9..30).contains(&unused.as_secs()), "{unused:?}");
    }
    assert!(slow.0.starts_with("HTTP/1.1 408"), "{}", slow.0);
    assert!((5..10).contains(&slow.1.as_secs()), "{:?}", slow.1);
    assert!(steady.0.starts_with("HTTP/1.1 401"), "{}", steady.0);
    assert!(endless.0.starts_with("HTTP/1.1 408"), "{}", endless.0);
    assert!((10..30).contains(&endless.1.as_secs()), "{:?}", endless.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ingress_behind_https_sends_hsts() {
    let system = System::with_fast_provider()
        .workers(0)
        .env("POBLYSH_PUBLIC_WEBHOOK_URL", "https://hooks.example.com")
        .start()
        .await;
    for path in ["/webhooks/github", "/livez", "/nowhere"] {
        let response = system.client.get(format!("{}{path}", system.ingress));
        let response = response.send().await.expect("a response");
        let headers = response.headers();
        assert_eq!(
            headers["strict-transport-security"], "max-age=31536000",
            "{path}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
    }
}
