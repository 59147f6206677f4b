//! The command `health` of a process: asks the running one whether it is ready.
//!
//! Supervisors of containers run it as their health check, because an image with nothing but the
//! programs has no HTTP client.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::header::HOST;
use axum::http::{Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{ConfigError, Env, Process, health_addr};

/// The timeout of a probe; the readiness check itself takes a second at most.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The error of a process that is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The address in the settings is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No process listens on the address.
    #[error("failed to connect to {address}; check that the process runs with the same settings")]
    Connect {
        /// The address of the process's health checks.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The process does not speak HTTP.
    #[error("failed to ask the process at {address}")]
    Request {
        /// The address of the process's health checks.
        address: SocketAddr,
        /// The cause.
        source: hyper::Error,
    },
    /// The process did not respond in time.
    #[error("the process at {0} did not respond within 3 s")]
    Timeout(SocketAddr),
    /// The process responded that it is not ready.
    #[error("the process at {address} is not ready: its readyz answered {status}")]
    NotReady {
        /// The address of the process's health checks.
        address: SocketAddr,
        /// The status of the response.
        status: StatusCode,
    },
}

/// Asks the running process on this host whether it is ready.
///
/// The environment has the address: the one of its settings, loopback if it listens on all
/// interfaces.
///
/// # Errors
///
/// When it does not run, does not respond within 3 s, or is not ready.
pub async fn probe(process: Process) -> Result<(), ProbeError> {
    let address = health_addr(&Env::from_process()?, process)?;
    probe_at(address, PROBE_TIMEOUT).await
}

async fn probe_at(address: SocketAddr, limit: Duration) -> Result<(), ProbeError> {
    let status = timeout(limit, request(address)).await;
    match status.map_err(|_| ProbeError::Timeout(address))?? {
        StatusCode::OK => Ok(()),
        status => Err(ProbeError::NotReady { address, status }),
    }
}

/// The status of `GET /readyz`.
async fn request(address: SocketAddr) -> Result<StatusCode, ProbeError> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|source| ProbeError::Connect { address, source })?;
    let failed = |source| ProbeError::Request { address, source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = Uri::from_static("/readyz");
    if let Ok(host) = address.to_string().try_into() {
        request.headers_mut().insert(HOST, host);
    }
    let response = sender.send_request(request);
    tokio::pin!(connection, response);
    // The connection is the future that moves the bytes; the response comes first.
    let response = tokio::select! {
        response = &mut response => response,
        result = &mut connection => match result {
            Ok(()) => response.await,
            Err(error) => Err(error),
        },
    };
    Ok(response.map_err(failed)?.status())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::service::{Health, operational_routes};
    use crate::telemetry::MetricsHandle;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    #[tokio::test]
    async fn readiness_of_a_process_is_reported() {
        let metrics = MetricsHandle::global().expect("a recorder");
        let health = Health::new(metrics, || async { Ok::<(), &str>(()) });
        let (listener, address) = listener().await;
        let routes = operational_routes(health.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        probe_at(address, PROBE_TIMEOUT).await.expect("ready");

        health.begin_drain();
        let error = probe_at(address, PROBE_TIMEOUT).await;
        let error = error.expect_err("draining").to_string();
        assert!(error.contains("503"), "{error}");
    }

    #[tokio::test]
    async fn absent_process_is_an_error() {
        let (listener, address) = listener().await;
        drop(listener);
        let error = probe_at(address, PROBE_TIMEOUT).await.expect_err("absent");
        assert!(matches!(error, ProbeError::Connect { .. }), "{error}");
    }

    #[tokio::test]
    async fn silent_process_is_an_error() {
        let (_listener, address) = listener().await;
        let error = probe_at(address, Duration::from_millis(30)).await;
        let error = error.expect_err("no response");
        assert!(matches!(error, ProbeError::Timeout(_)), "{error}");
    }
}
