//! The HTTP server of all processes.
//!
//! It bounds the number of sockets, times out slow clients, checks framing, and shuts down
//! gracefully.

mod framing;
mod shutdown;
mod sockets;
mod timeouts;
mod unread_body;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

pub use self::shutdown::Shutdown;
use self::sockets::{Capacity, Sockets};
use self::timeouts::{Phase, TimedStream, Timeouts};
use self::unread_body::UnreadBody;
use crate::config::TrustedProxies;
use crate::problem::Problem;
use crate::telemetry::{RequestOrigin, is_operational};

/// The maximum number of open sockets.
///
/// Above the shared ones, an idle socket is evicted, then a busy one of the peer with most sockets.
/// If neither is possible, reserved sockets serve health checks and metrics only.
const CAPACITY: Capacity = Capacity {
    shared: 4096,
    reserved: 64,
};
/// The pause after a failed accept, so that it does not become a busy loop.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// One year of `Strict-Transport-Security` (RFC 6797).
const HSTS: &str = "max-age=31536000";

/// The address of the client that sent a request; an extension of every request.
///
/// Behind trusted proxies it is the address that they forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub IpAddr);

impl ClientAddr {
    /// The client's key in limits: its IPv4 address or its IPv6 network.
    ///
    /// A /64 network belongs to one client.
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Ipv6Addr::from_bits(network).into()
            }
        }
    }
}

/// A router with the proxies in front of it and the scheme of its public URL.
#[derive(Debug, Clone)]
pub struct HttpServer {
    router: Router,
    proxies: TrustedProxies,
    is_https: bool,
}

impl HttpServer {
    /// A server that clients reach directly, without TLS.
    pub fn plain(router: Router) -> Self {
        Self {
            router,
            proxies: TrustedProxies::default(),
            is_https: false,
        }
    }

    /// A server that clients reach through `proxies`, over HTTPS if `is_https`.
    pub const fn behind(router: Router, proxies: TrustedProxies, is_https: bool) -> Self {
        Self {
            router,
            proxies,
            is_https,
        }
    }

    /// Serves until [`Shutdown::draining`].
    ///
    /// Then it completes requests in flight, until [`Shutdown::aborted`].
    pub async fn serve(self, listener: TcpListener, shutdown: Shutdown) {
        let sockets = Sockets::new(CAPACITY);
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.draining.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a socket");
                    // Health checks must work without free file descriptors.
                    if is_out_of_descriptors(&error) {
                        sockets.evict();
                    }
                    tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
                    continue;
                }
            };
            set_nodelay(&stream);
            let phase = Phase::default();
            let owner = Some(peer.ip()).filter(|ip| !self.proxies.contains(*ip));
            let owner = owner.map(|ip| ClientAddr(ip).network());
            let Some(guard) = sockets.open(owner, &phase) else {
                drop(stream);
                continue;
            };
            let socket =
                self.serve_socket(stream, peer, phase, Timeouts::DEFAULT, guard.is_reserved);
            let socket = graceful.watch(socket);
            let aborted = shutdown.aborted.clone();
            shutdown.tasks.spawn(async move {
                tokio::select! {
                    result = socket => if let Err(error) = result {
                        tracing::debug!(%error, "socket closed early");
                    },
                    () = guard.evicted.cancelled() => {}
                    () = aborted.cancelled() => {}
                }
            });
        }
        drop(listener);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = shutdown.aborted.cancelled() => {}
        }
    }

    /// Serves the requests of one socket.
    fn serve_socket<S>(
        &self,
        stream: S,
        peer: SocketAddr,
        phase: Phase,
        timeouts: Timeouts,
        is_reserved: bool,
    ) -> impl GracefulConnection<Error = hyper::Error> + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let stream = TimedStream::new(stream, phase.clone(), timeouts);
        let Self {
            router,
            proxies,
            is_https,
        } = self.clone();
        let service = tower::service_fn(move |mut request: Request<Incoming>| {
            phase.begin_response();
            let client = proxies.client(peer, request.headers());
            request.extensions_mut().insert(ClientAddr(client));
            request.extensions_mut().insert(RequestOrigin {
                address: client,
                scheme: if is_https { "https" } else { "http" },
            });
            let rejection = rejection(&request, &phase, is_reserved);
            let is_rejected = rejection.is_some();
            let (phase, router) = (phase.clone(), router.clone());
            async move {
                let unread = UnreadBody::default();
                let (head, body) = request.into_parts();
                let body = unread.lend(&head.headers, Body::new(body));
                let request = Request::from_parts(head, body);
                let response = match rejection {
                    Some(problem) => {
                        drop(request);
                        problem.into_response()
                    }
                    None => match router.oneshot(request).await {
                        Ok(response) => response,
                        Err(never) => match never {},
                    },
                };
                unread.discard().await;
                let mut response = response.map(|body| {
                    Body::new(ResponseBody {
                        body,
                        phase: phase.clone(),
                    })
                });
                set_security_headers(&mut response, is_https);
                if is_reserved || is_rejected || !phase.may_continue() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.idle)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
    }
}

/// A response's body, which keeps its socket busy until it is sent.
struct ResponseBody {
    body: Body,
    phase: Phase,
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.phase.end_response();
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The response to a request that is not routed.
fn rejection(request: &Request<Incoming>, phase: &Phase, is_reserved: bool) -> Option<Problem> {
    if phase.is_ambiguous() {
        return Some(Problem::new(
            StatusCode::BAD_REQUEST,
            "ambiguous_request",
            "The framing is ambiguous. End lines with CRLF and send either Content-Length or \
             Transfer-Encoding.",
        ));
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11) {
        return Some(Problem::new(
            StatusCode::BAD_REQUEST,
            "host_required",
            "The Host header is missing or repeated. Send exactly one.",
        ));
    }
    (is_reserved && !is_operational(request.uri().path())).then(Problem::unavailable)
}

/// Sets headers that forbid content sniffing and, with HTTPS, plain HTTP.
fn set_security_headers(response: &mut Response, is_https: bool) {
    let headers = response.headers_mut();
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    if is_https {
        let hsts = HeaderValue::from_static(HSTS);
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
}

fn set_nodelay(stream: &TcpStream) {
    // Nagle's algorithm would delay small responses.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
}

/// Whether the process or the machine has no free file descriptor.
fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_network_counts_as_one_client() {
        for (address, network) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::9", "2001:db8:1:2::"),
            ("2001:db8:1:3::9", "2001:db8:1:3::"),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            let network: IpAddr = network.parse().expect("an address");
            assert_eq!(ClientAddr(address).network(), network, "{address}");
        }
    }
}
