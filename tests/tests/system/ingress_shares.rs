//! What one client and one provider get of a server's sockets and of the ingress's memory, and how
//! slow they may be. Clients are told apart by loopback addresses, or by what a proxy forwards.

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
/// Fits three times into a client's 64 MiB, and six times into a provider's 128.
const HELD: usize = 21 * MIB;

/// A system behind a proxy, which is this process.
async fn behind_a_proxy() -> System {
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

/// The head of a delivery, whose signature is none.
fn head(client: &str, length: usize) -> String {
    format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\
         X-GitHub-Event: issues\r\nX-GitHub-Delivery: {}\r\nX-Hub-Signature-256: sha256={}\r\n\
         Content-Length: {length}\r\n\r\n",
        Uuid::new_v4(),
        "0".repeat(64)
    )
}

/// A delivery of which all but the last byte is there.
async fn hold(system: &System, client: &str, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address(&system.ingress))
        .await
        .expect("it listens");
    let head = head(client, length + 1);
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b' '; length]).await.expect("sent");
    stream
}

/// The status of a delivery to this path that nobody has signed: 401 once it was read.
async fn unsigned(system: &System, path: &str, client: &str, length: usize) -> u16 {
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
    let answer: Response = request.send().await.expect("the ingress answers");
    answer.status().as_u16()
}

/// Three such deliveries of a client: nearly all that one client gets.
async fn hold_share(system: &System, client: &str) -> [TcpStream; 3] {
    let held = tokio::join!(
        hold(system, client, HELD),
        hold(system, client, HELD),
        hold(system, client, HELD)
    );
    held.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_one_client_is_bounded() {
    let system = behind_a_proxy().await;
    let held = hold_share(&system, "203.0.113.1").await;
    eventually("the client has its share", async || {
        unsigned(&system, "/webhooks/github", "203.0.113.1", 2 * MIB).await == 503
    })
    .await;
    let other = unsigned(&system, "/webhooks/github", "203.0.113.2", 2 * MIB).await;
    assert_eq!(other, 401, "another client has one of its own");
    drop(held);
    eventually("the room is given back", async || {
        unsigned(&system, "/webhooks/github", "203.0.113.1", 2 * MIB).await == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_one_provider_is_bounded() {
    let system = behind_a_proxy().await;
    let _held = tokio::join!(
        hold_share(&system, "203.0.113.1"),
        hold_share(&system, "203.0.113.2")
    );
    eventually("the provider has its share", async || {
        unsigned(&system, "/webhooks/github", "203.0.113.3", 3 * MIB).await == 503
    })
    .await;
    let other = unsigned(&system, "/webhooks/slack", "203.0.113.3", 3 * MIB).await;
    assert_eq!(other, 401, "another provider has one of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_one_client_are_bounded_in_number() {
    let system = behind_a_proxy().await;
    let announced = (0..1_024).map(|_| async {
        let stream = TcpStream::connect(address(&system.ingress)).await;
        let mut stream = stream.expect("enough descriptors: ulimit -n");
        let head = head("203.0.113.1", 1);
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream
    });
    let _announced = futures::future::join_all(announced).await;
    eventually("the client has its share", async || {
        unsigned(&system, "/webhooks/github", "203.0.113.1", 1).await == 503
    })
    .await;
    let other = unsigned(&system, "/webhooks/github", "203.0.113.2", 1).await;
    assert_eq!(other, 401, "another client has one of its own");
}

/// A socket from a loopback address of the caller's choice.
async fn from(local: [u8; 4], server: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((local, 0)))?;
    socket.connect(address(server)).await
}

/// What is answered on a socket that stays open; `None` where it does not.
async fn ask(stream: &mut TcpStream) -> Option<String> {
    let request = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await;
    let length = read.ok()?.ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_one_client_close_no_other_clients() {
    let system = System::with_fast_provider().workers(0).start().await;
    for server in [&system.ingress, &system.api] {
        let mut kept = from([127, 0, 0, 1], server).await.expect("a socket");
        let answer = ask(&mut kept).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{server}: {answer}");
        // More than there is room for, each as much in use as the one above and idle for less long.
        let flood = (0..4_200).map(async |_| {
            let stream = from([127, 0, 0, 2], server).await;
            let mut stream = stream.expect("enough descriptors: ulimit -n");
            ask(&mut stream).await;
            stream
        });
        let flood = futures::stream::iter(flood).buffer_unordered(64);
        let _flood: Vec<_> = flood.collect().await;
        let answer = ask(&mut kept).await.unwrap_or_default();
        assert!(answer.starts_with("HTTP/1.1 200"), "{server}: {answer}");
    }
    let good = signature(secret(&system), BODY.as_bytes());
    let answer = post(&system, &Uuid::new_v4().to_string(), Some(&good), BODY).await;
    assert_eq!(answer.status().as_u16(), 200);
}

/// A socket with a request under way, whose head is there and whose body never comes; `None` where
/// the server does not wait for the body.
async fn occupy(local: [u8; 4], server: &str) -> Option<TcpStream> {
    let stream = from(local, server).await;
    let mut stream = stream.expect("enough descriptors: ulimit -n");
    let head = "POST /v1/connect/github/start HTTP/1.1\r\nHost: x\r\n\
                Expect: 100-continue\r\nContent-Length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = [0; 64];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await;
    let length = read.ok()?.ok()?;
    answer[..length]
        .starts_with(b"HTTP/1.1 100")
        .then_some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_sockets_of_few_clients_keep_no_other_out() {
    let system = System::with_fast_provider().workers(0).start().await;
    let flood = (0..4_200).map(|number| {
        let last = [2, 3, 4, 5][number % 4];
        occupy([127, 0, 0, last], &system.api)
    });
    let flood = futures::stream::iter(flood).buffer_unordered(64);
    let flood: Vec<_> = flood.collect().await;
    let held = flood.iter().flatten().count();
    assert!(held > 4_000, "{held}");
    for _ in 0..3 {
        let mut other = from([127, 0, 0, 1], &system.api).await.expect("a socket");
        let request = "GET /v1/signals HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        other.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        let read = other.read_to_string(&mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(10), read).await;
        ended.expect("an answer in time").expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}

/// How long a socket stays open on which nothing is sent.
async fn unused_for(server: &str) -> Duration {
    let mut stream = TcpStream::connect(address(server))
        .await
        .expect("it listens");
    let opened = Instant::now();
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    let ended = tokio::time::timeout(Duration::from_mins(1), end).await;
    // How it ends is the server's; that it ends is what is asked.
    assert!(ended.is_ok(), "the socket stays open");
    opened.elapsed()
}

/// What a delivery is answered of which so many bytes are sent every 100 ms.
async fn at_pace(system: &System, pace: usize, length: usize) -> (String, Duration) {
    let mut stream = TcpStream::connect(address(&system.ingress))
        .await
        .expect("it listens");
    let began = Instant::now();
    let head = head("203.0.113.1", length);
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let mut sent = 0;
    loop {
        if sent < length {
            let part = vec![b' '; pace.min(length - sent)];
            sent += part.len();
            // The server may have answered and closed already.
            stream.write_all(&part).await.ok();
        }
        let pause = Duration::from_millis(100);
        if let Ok(read) = tokio::time::timeout(pause, stream.read(&mut answer)).await {
            let length = read.unwrap_or(0);
            let text = String::from_utf8_lossy(&answer[..length]).into_owned();
            return (text, began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_mins(1), "no answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_too_long_are_ended() {
    let system = behind_a_proxy().await;
    let (ingress, api, slow, steady, endless) = tokio::join!(
        unused_for(&system.ingress),
        unused_for(&system.api),
        // 10 KiB/s, 320 KiB/s for six seconds, and the same for longer than a body may take.
        at_pace(&system, 1 << 10, MIB),
        at_pace(&system, 32 << 10, 60 * (32 << 10)),
        at_pace(&system, 32 << 10, 24 * MIB),
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
async fn ingress_behind_https_says_so() {
    let system = System::with_fast_provider()
        .workers(0)
        .env("POBLYSH_PUBLIC_WEBHOOK_URL", "https://hooks.example.com")
        .start()
        .await;
    for path in ["/webhooks/github", "/livez", "/nowhere"] {
        let answer = system.client.get(format!("{}{path}", system.ingress));
        let answer = answer.send().await.expect("an answer");
        let headers = answer.headers();
        assert_eq!(
            headers["strict-transport-security"], "max-age=31536000",
            "{path}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
    }
}
