//! What a connection may take its time for.
//!
//! hyper knows one patience for both an idle connection and a request's head. They differ: who
//! waits between two requests is a load balancer or a client that keeps its connection, and must
//! be the one that ends it, because what it sends while we do has no answer. Who begins a head
//! and does not end it only holds a place.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long is waited for a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long an idle connection may stay.
    pub(super) idle: Duration,
    /// How long a request's head may take from its first byte on.
    head: Duration,
}

impl Patience {
    /// Idle for longer than most load balancers and clients keep a connection, 60 to 90 s. The
    /// rest is what a slow-loris client gets.
    pub(super) const DEFAULT: Self = Self {
        idle: Duration::from_secs(100),
        head: Duration::from_secs(10),
    };
}

/// What a connection is at; shared by who reads from it and who answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Phase(Arc<AtomicU8>);

impl Phase {
    /// Between two requests.
    const IDLE: u8 = 0;
    /// A part of a head is there.
    const HEAD: u8 = 1;
    /// A head is there, its answer is not.
    const ANSWER: u8 = 2;

    /// A request's head is there.
    pub(super) fn answering(&self) {
        self.0.store(Self::ANSWER, Ordering::Relaxed);
    }

    /// The answer to it is there.
    pub(super) fn answered(&self) {
        self.0.store(Self::IDLE, Ordering::Relaxed);
    }

    /// Something was read. Whether a head begins with it.
    fn begins(&self) -> bool {
        let (idle, head) = (Self::IDLE, Self::HEAD);
        self.0
            .compare_exchange(idle, head, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn is_head(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::HEAD
    }
}

/// A connection that ends when a head that has begun is not there in time.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    phase: Phase,
    patience: Duration,
    /// Since the last head began.
    head: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, phase: Phase, patience: Patience) -> Self {
        Self {
            stream,
            phase,
            patience: patience.head,
            head: Box::pin(sleep(patience.head)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before && this.phase.begins() {
                this.head.as_mut().reset(Instant::now() + this.patience);
            }
            return Poll::Ready(read);
        }
        if this.phase.is_head() {
            ready!(this.head.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
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
    use crate::server;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_mins(1);

    /// A client's end of a connection to a server that reads and answers.
    fn connect(idle: Duration, head: Duration) -> DuplexStream {
        let (ours, theirs) = duplex(4096);
        let router = Router::new().route("/", post(async |body: String| body));
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let patience = Patience { idle, head };
        tokio::spawn(server::connection(theirs, peer, router, patience));
        ours
    }

    async fn ask(client: &mut DuplexStream) {
        let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
        client.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\nbody") {
            let mut bytes = [0; 1024];
            let count = client.read(&mut bytes).await.expect("read");
            assert!(count > 0, "no answer but {answer}");
            answer.push_str(std::str::from_utf8(&bytes[..count]).expect("text"));
        }
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }

    /// Waits until the other side ends the connection.
    async fn ended(mut client: DuplexStream) {
        let mut rest = Vec::new();
        // That it ends is what is asked; how is the other side's.
        let end = tokio::time::timeout(LONG / 2, client.read_to_end(&mut rest));
        assert!(end.await.is_ok(), "the connection stays");
    }

    #[tokio::test]
    async fn a_client_that_keeps_its_connection_may_use_it_again() {
        let mut client = connect(LONG, SHORT);
        for _ in 0..3 {
            ask(&mut client).await;
            sleep(SHORT * 2).await;
        }
        ask(&mut client).await;
    }

    #[tokio::test]
    async fn a_client_that_asks_for_nothing_may_not_stay() {
        ended(connect(SHORT, LONG)).await;
        let mut client = connect(SHORT, LONG);
        ask(&mut client).await;
        ended(client).await;
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_not_waited_for() {
        for requests in [0, 2] {
            let mut client = connect(LONG, SHORT);
            for _ in 0..requests {
                ask(&mut client).await;
            }
            let part = b"POST / HTTP/1.1\r\n";
            client.write_all(part).await.expect("written");
            ended(client).await;
        }
    }
}
