//! HTTP/1.1 server with keep-alive, whose handlers can close their socket.
//!
//! It uses hyper because axum's server cannot close a socket without a response
//! ([`CloseConnection`]).

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Response extension that closes the socket instead of sending the response.
#[derive(Clone, Copy)]
pub(crate) struct CloseConnection;

/// Serves until `stop` is cancelled, and returns when every socket is closed.
pub(crate) async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        if let Ok((stream, _)) = accepted {
            connections.spawn(connection(stream, routes.clone(), stop.clone()));
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, routes: Router, stop: CancellationToken) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request: Request<Incoming>| respond(routes.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A client that never completes its request must not delay the shutdown.
            tokio::time::timeout(Duration::from_secs(2), connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "failed to serve a socket");
    }
}

async fn respond(routes: Router, request: Request<Incoming>) -> Result<Response, io::Error> {
    let result: Result<Response, Infallible> = routes.oneshot(request.map(Body::new)).await;
    let response = match result {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if response.extensions().get::<CloseConnection>().is_some() {
        return Err(io::Error::new(
            io::ErrorKind::ConnectionReset,
            "closed by a fault",
        ));
    }
    Ok(response)
}
