//! The phases and timeouts of a socket.
//!
//! hyper has one timeout for idle sockets and for request heads, but they differ. Clients and load
//! balancers must close their idle sockets themselves, because a request that is sent while the
//! server closes the socket gets no response. A client that sends no request, or only a part of a
//! head, occupies a socket for nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::framing::Framing;

/// The timeouts of a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// The maximum idle time of a socket between two requests.
    pub(super) idle: Duration,
    /// The maximum time for a head from its first byte, or from the opening of the socket.
    head: Duration,
}

impl Timeouts {
    /// The idle timeout is longer than that of most load balancers and clients (60 to 90 s).
    pub(super) const DEFAULT: Self = Self {
        idle: Duration::from_secs(100),
        head: Duration::from_secs(10),
    };
}

/// The phase of a socket, shared by its reader, its requests and the list of sockets.
#[derive(Debug, Clone)]
pub(super) struct Phase(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    phase: AtomicU8,
    opened: Instant,
    /// Milliseconds after `opened` at which the phase began.
    since: AtomicU64,
    /// Whether the socket has served a request.
    has_served: AtomicBool,
    is_ambiguous: AtomicBool,
    may_continue: AtomicBool,
}

impl Default for Phase {
    fn default() -> Self {
        Self(Arc::new(Inner {
            phase: AtomicU8::new(Self::HEAD),
            opened: Instant::now(),
            since: AtomicU64::new(0),
            has_served: AtomicBool::new(false),
            is_ambiguous: AtomicBool::new(false),
            may_continue: AtomicBool::new(true),
        }))
    }
}

impl Phase {
    /// The socket is between two requests.
    const IDLE: u8 = 0;
    /// The first head, or one that has begun, is awaited.
    const HEAD: u8 = 1;
    /// A head was received and its response is not complete.
    const RESPONSE: u8 = 2;

    /// Records that a request's head was received.
    pub(super) fn begin_response(&self) {
        self.enter(Self::RESPONSE);
    }

    /// Records that the response is complete.
    pub(super) fn end_response(&self) {
        self.0.has_served.store(true, Ordering::Relaxed);
        self.enter(Self::IDLE);
    }

    /// Whether the framing of a request on this socket is ambiguous.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.0.is_ambiguous.load(Ordering::Relaxed)
    }

    /// Whether another request may follow.
    pub(super) fn may_continue(&self) -> bool {
        self.0.may_continue.load(Ordering::Relaxed)
    }

    /// The sort key for evicting an idle socket, least useful first; `None` during a request.
    pub(super) fn idle_since(&self) -> Option<(bool, Instant)> {
        if self.0.phase.load(Ordering::Relaxed) == Self::RESPONSE {
            return None;
        }
        let has_served = self.0.has_served.load(Ordering::Relaxed);
        Some((has_served, self.since()))
    }

    /// The start of the current phase.
    pub(super) fn since(&self) -> Instant {
        self.0.opened + Duration::from_millis(self.0.since.load(Ordering::Relaxed))
    }

    fn enter(&self, phase: u8) {
        let since = self.0.opened.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.0.since.store(since, Ordering::Relaxed);
        self.0.phase.store(phase, Ordering::Relaxed);
    }

    /// Records that bytes were read, and returns whether a head begins with them.
    fn begin_head(&self) -> bool {
        let begins = self.0.phase.load(Ordering::Relaxed) == Self::IDLE;
        if begins {
            self.enter(Self::HEAD);
        }
        begins
    }

    fn is_head(&self) -> bool {
        self.0.phase.load(Ordering::Relaxed) == Self::HEAD
    }

    fn set_framing(&self, is_ambiguous: bool, may_continue: bool) {
        self.0.is_ambiguous.store(is_ambiguous, Ordering::Relaxed);
        self.0.may_continue.store(may_continue, Ordering::Relaxed);
    }
}

/// A socket that checks framing and fails when a head takes too long.
#[derive(Debug)]
pub(super) struct TimedStream<S> {
    stream: S,
    phase: Phase,
    framing: Framing,
    timeout: Duration,
    /// The timer of the current head.
    head_timer: Pin<Box<Sleep>>,
}

impl<S> TimedStream<S> {
    pub(super) fn new(stream: S, phase: Phase, timeouts: Timeouts) -> Self {
        Self {
            stream,
            phase,
            framing: Framing::default(),
            timeout: timeouts.head,
            head_timer: Box::pin(sleep(timeouts.head)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            let bytes = &buffer.filled()[before..];
            if !bytes.is_empty() {
                if this.phase.begin_head() {
                    this.head_timer
                        .as_mut()
                        .reset(Instant::now() + this.timeout);
                }
                let is_ambiguous = this.framing.read(bytes);
                this.phase
                    .set_framing(is_ambiguous, this.framing.may_continue());
            }
            return Poll::Ready(read);
        }
        if this.phase.is_head() {
            ready!(this.head_timer.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::server::HttpServer;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_mins(1);

    /// A client's end of a socket to a server that echoes bodies.
    fn connect(idle: Duration, head: Duration) -> DuplexStream {
        let (client, stream) = duplex(4096);
        let router = Router::new().route("/", post(async |body: String| body));
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let timeouts = Timeouts { idle, head };
        let phase = Phase::default();
        let server = HttpServer::plain(router);
        tokio::spawn(server.serve_socket(stream, peer, phase, timeouts, false));
        client
    }

    async fn send_request(client: &mut DuplexStream) {
        let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
        client.write_all(request.as_bytes()).await.expect("written");
        let mut response = String::new();
        while !response.ends_with("\r\n\r\nbody") {
            let mut bytes = [0; 1024];
            let count = client.read(&mut bytes).await.expect("read");
            assert!(count > 0, "incomplete response: {response}");
            response.push_str(std::str::from_utf8(&bytes[..count]).expect("text"));
        }
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    }

    /// Asserts that the server closes the socket.
    async fn assert_closed(mut client: DuplexStream) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(LONG / 2, client.read_to_end(&mut rest));
        assert!(end.await.is_ok(), "the socket stays open");
    }

    #[tokio::test]
    async fn idle_socket_can_be_used_again() {
        let mut client = connect(LONG, SHORT);
        for _ in 0..3 {
            send_request(&mut client).await;
            sleep(SHORT * 2).await;
        }
        send_request(&mut client).await;
    }

    #[tokio::test]
    async fn idle_socket_is_closed_after_the_timeout() {
        assert_closed(connect(SHORT, LONG)).await;
        let mut client = connect(SHORT, LONG);
        send_request(&mut client).await;
        assert_closed(client).await;
    }

    #[tokio::test]
    async fn socket_without_a_first_request_is_closed() {
        assert_closed(connect(LONG, SHORT)).await;
    }

    /// The bytes that the server sends until it closes the socket.
    async fn response_to(request: &str) -> String {
        let mut client = connect(LONG, LONG);
        client.write_all(request.as_bytes()).await.expect("written");
        let mut all = Vec::new();
        let end = tokio::time::timeout(LONG / 2, client.read_to_end(&mut all));
        end.await.expect("the socket is closed").expect("read");
        String::from_utf8_lossy(&all).into_owned()
    }

    #[tokio::test]
    async fn ambiguous_request_closes_the_socket() {
        for request in [
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            "POST / HTTP/1.1\nhost: a\ncontent-length: 4\n\nbody",
            "POST / HTTP/1.1\r\nhost: a\ncontent-length: 4\r\n\r\nbody",
            "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nbody",
            "POST / HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 4\r\n\r\nbody",
        ] {
            let response = response_to(request).await;
            assert!(
                response.starts_with("HTTP/1.1 400 "),
                "{request:?}: {response}"
            );
            assert_eq!(
                response.matches("HTTP/1.1").count(),
                1,
                "{request:?}: {response}"
            );
        }
    }

    #[tokio::test]
    async fn every_response_forbids_content_sniffing() {
        let mut client = connect(LONG, LONG);
        let request = "GET /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).await.expect("written");
        let mut all = String::new();
        client.read_to_string(&mut all).await.expect("read");
        assert!(all.contains("x-content-type-options: nosniff\r\n"), "{all}");
    }

    #[tokio::test]
    async fn incomplete_head_times_out() {
        for requests in [0, 2] {
            let mut client = connect(LONG, SHORT);
            for _ in 0..requests {
                send_request(&mut client).await;
            }
            let part = b"POST / HTTP/1.1\r\n";
            client.write_all(part).await.expect("written");
            assert_closed(client).await;
        }
    }
}
