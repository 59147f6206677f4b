//! The one HTTP server of the processes: bounded sockets, time-outs for slow clients, checked
//! framing, and an orderly end.

mod framing;
mod sockets;
mod timeouts;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use self::sockets::{Capacity, Sockets};
use self::timeouts::{Phase, TimedStream, Timeouts};
use crate::config::TrustedProxies;
use crate::problem::Problem;
use crate::telemetry::{Lifecycle, is_operational};

/// Sockets at the same time. Beyond, idle ones give way, then busy ones of the peer that holds
/// most; where none may, the reserved ones answer health checks and metrics only.
const CAPACITY: Capacity = Capacity {
    shared: 4096,
    reserved: 64,
};
/// Pause after a failed accept, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a refused request's body that are read, and for how long.
const MAX_DISCARDED: usize = 64 << 10;
const DISCARD_TIMEOUT: Duration = Duration::from_millis(500);
/// A year (RFC 6797): browsers use nothing but HTTPS for as long.
const HSTS: &str = "max-age=31536000";

/// The address of the client that sent a request; an extension of every request.
///
/// Behind trusted proxies it is the one that they forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub IpAddr);

impl ClientAddr {
    /// The address that limits per client count by: of IPv6 the /64 network, all of which belongs
    /// to one client.
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

/// A server: a router, and what is known of those in front of it.
#[derive(Debug, Clone)]
pub struct HttpServer {
    router: Router,
    proxies: TrustedProxies,
    is_https: bool,
}

/// A listener for health and metrics on an address of their own.
///
/// # Errors
///
/// When the address cannot be listened on.
pub fn listen_for_telemetry(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
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

    /// A server that clients reach at `public_url` through `proxies`.
    pub fn behind(router: Router, proxies: TrustedProxies, public_url: &url::Url) -> Self {
        Self {
            router,
            proxies,
            is_https: public_url.scheme() == "https",
        }
    }

    /// Serves until [`Lifecycle::soft`], then lets requests in flight end, until
    /// [`Lifecycle::hard`].
    pub async fn serve(self, listener: TcpListener, life: Lifecycle) {
        let sockets = Sockets::new(CAPACITY);
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = life.soft().cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a socket");
                    // Without file descriptors left, health checks are answered all the same.
                    if is_out_of_descriptors(&error) {
                        sockets.evict();
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            prepare(&stream);
            let phase = Phase::default();
            let holder = Some(peer.ip()).filter(|ip| !self.proxies.contains(*ip));
            let holder = holder.map(|ip| ClientAddr(ip).network());
            let Some(place) = sockets.enter(holder, &phase) else {
                drop(stream);
                continue;
            };
            let connection =
                self.connection(stream, peer, phase, Timeouts::DEFAULT, place.is_reserved);
            let connection = graceful.watch(connection);
            let hard = life.hard().clone();
            life.spawn(async move {
                tokio::select! {
                    ended = connection => if let Err(error) = ended {
                        tracing::debug!(%error, "a socket ended early");
                    },
                    () = place.evicted.cancelled() => {}
                    () = hard.cancelled() => {}
                }
            });
        }
        drop(listener);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = life.hard().cancelled() => {}
        }
    }

    /// Serves the requests of one socket.
    fn connection<S>(
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
            let refusal = refusal(&request, &phase, is_reserved);
            let is_refused = refusal.is_some();
            let (phase, router) = (phase.clone(), router.clone());
            async move {
                let mut response = match refusal {
                    Some(problem) => {
                        discard(request.into_body()).await;
                        problem.into_response()
                    }
                    None => match router.oneshot(request.map(Body::new)).await {
                        Ok(response) => response,
                        Err(never) => match never {},
                    },
                };
                response = response.map(|body| {
                    Body::new(ResponseBody {
                        body,
                        phase: phase.clone(),
                    })
                });
                secure(&mut response, is_https);
                if is_reserved || is_refused || !phase.may_continue() {
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

/// A response's body; the socket is busy until it has been sent.
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

/// Why a request is not handed to the router, if it is not.
fn refusal(request: &Request<Incoming>, phase: &Phase, is_reserved: bool) -> Option<Problem> {
    if phase.is_ambiguous() {
        return Some(Problem::new(
            StatusCode::BAD_REQUEST,
            "ambiguous_request",
            "Send lines that end with CRLF and either Content-Length or Transfer-Encoding.",
        ));
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11) {
        return Some(Problem::new(
            StatusCode::BAD_REQUEST,
            "host_required",
            "Send exactly one Host header.",
        ));
    }
    (is_reserved && !is_operational(request.uri().path())).then(Problem::unavailable)
}

/// Reads what has been sent of a refused request's body: a socket that is closed before is reset,
/// and its client may never see the response.
async fn discard(mut body: Incoming) {
    let read = async {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > MAX_DISCARDED {
                break;
            }
        }
    };
    tokio::time::timeout(DISCARD_TIMEOUT, read).await.ok();
}

/// Tells browsers to take a response for what it says it is, and to come by HTTPS only.
fn secure(response: &mut Response, is_https: bool) {
    let headers = response.headers_mut();
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    if is_https {
        let hsts = HeaderValue::from_static(HSTS);
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
}

fn prepare(stream: &TcpStream) {
    // Responses are small; waiting to fill a packet would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a socket without TCP_NODELAY");
    }
}

/// Whether the process, or the machine, has no file descriptor left.
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
