//! Reads what a handler left of a request's body.
//!
//! Closing a socket with unread bytes resets it, and the client may miss the response.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::time::timeout;

/// The maximum number of bytes that are read and discarded.
///
/// It is more than the largest body that any provider sends.
const MAX_BYTES: usize = 32 << 20;
/// The maximum time for reading them.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum time without a byte.
const IDLE_TIMEOUT: Duration = Duration::from_millis(500);

/// Takes back the body of a request when its handler drops it.
#[derive(Clone, Default)]
pub(super) struct UnreadBody(Arc<Mutex<Option<Body>>>);

/// A request's body, which goes back to [`UnreadBody`] unless it was read to its end.
struct Lent {
    body: Option<Body>,
    /// Whether the client sends the body: immediately, or after the first read, which sends it
    /// `100 Continue`.
    is_sent: bool,
    unread: UnreadBody,
}

impl UnreadBody {
    /// The body of a request for its handler.
    pub(super) fn lend(&self, headers: &HeaderMap, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Lent {
            body: Some(body),
            is_sent: !headers.contains_key(header::EXPECT),
            unread: self.clone(),
        })
    }

    /// Reads and discards the rest within limits.
    pub(super) async fn discard(self) {
        let unread = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(body) = unread {
            discard(body).await;
        }
    }
}

/// Reads and discards a body within limits.
async fn discard(mut body: Body) {
    let read = async {
        let mut length = 0;
        while let Ok(Some(Ok(frame))) = timeout(IDLE_TIMEOUT, body.frame()).await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > MAX_BYTES {
                break;
            }
        }
    };
    timeout(TOTAL_TIMEOUT, read).await.ok();
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_sent = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let is_unread = |body: &Body| self.is_sent && !body.is_end_stream();
        let body = self.body.take().filter(is_unread);
        *self.unread.0.lock().unwrap_or_else(PoisonError::into_inner) = body;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::Router;
    use axum::routing::post;
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::server::HttpServer;
    use crate::server::timeouts::{Phase, Timeouts};

    const SECOND: Duration = Duration::from_secs(1);

    /// A client's end of a socket to a server that reads no body.
    fn connect() -> DuplexStream {
        let (client, stream) = duplex(4096);
        let unavailable = async || StatusCode::SERVICE_UNAVAILABLE;
        let router = Router::new().route("/", post(unavailable));
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let server = HttpServer::plain(router);
        let socket = server.serve_socket(stream, peer, Phase::default(), Timeouts::DEFAULT, false);
        tokio::spawn(socket);
        client
    }

    async fn response(client: &mut DuplexStream) -> String {
        let mut bytes = [0; 4096];
        let length = timeout(10 * SECOND, client.read(&mut bytes)).await;
        let length = length.expect("a response in time").expect("a response");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[tokio::test]
    async fn rejected_body_is_read() {
        let mut client = connect();
        for _ in 0..2 {
            let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n";
            client.write_all(head.as_bytes()).await.expect("written");
            client
                .write_all(&vec![0; 3_000_000])
                .await
                .expect("written");
            assert!(response(&mut client).await.starts_with("HTTP/1.1 503 "));
        }
    }

    #[tokio::test]
    async fn stalled_body_delays_the_response_briefly() {
        let mut client = connect();
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n";
        client.write_all(head.as_bytes()).await.expect("written");
        assert!(response(&mut client).await.starts_with("HTTP/1.1 503 "));
    }

    #[tokio::test]
    async fn waiting_client_is_not_asked_to_send() {
        let mut client = connect();
        let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\
                    content-length: 3000000\r\n\r\n";
        client.write_all(head.as_bytes()).await.expect("written");
        assert!(response(&mut client).await.starts_with("HTTP/1.1 503 "));
    }
}
