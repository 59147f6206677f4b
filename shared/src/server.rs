//! The one HTTP server of the three processes: bounded connections, bounded patience with
//! slow clients, and an orderly end.

mod patience;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use self::patience::{Patience, Patient, Phase};
use crate::telemetry::Lifecycle;

/// Connections at the same time; further ones wait in the kernel's line.
const MAX_CONNECTIONS: usize = 4096;
/// Pause after a failed accept (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until [`Lifecycle::soft`], then lets requests in flight end, until
/// [`Lifecycle::hard`].
pub async fn serve(listener: TcpListener, router: Router, life: Lifecycle) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = life.soft().cancelled() => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = life.soft().cancelled() => break,
        };
        let (stream, peer) = match stream {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        prepare(&stream);
        let connection = connection(stream, peer, router.clone(), Patience::DEFAULT);
        let connection = graceful.watch(connection);
        let hard = life.hard().clone();
        life.spawn(async move {
            let _place = place;
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                },
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

/// A connection on which requests are answered by a router.
fn connection<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    patience: Patience,
) -> impl GracefulConnection<Error = hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let phase = Phase::default();
    let stream = Patient::new(stream, phase.clone(), patience);
    let begun = phase.clone();
    let service = router
        .map_request(move |mut request: http::Request<Incoming>| {
            begun.answering();
            request.extensions_mut().insert(ConnectInfo(peer));
            request.map(axum::body::Body::new)
        })
        .map_response(move |answer| {
            phase.answered();
            answer
        });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.idle)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
}

fn prepare(stream: &TcpStream) {
    // Answers are small; waiting to fill a packet would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
}
