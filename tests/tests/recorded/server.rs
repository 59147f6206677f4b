//! A server on this machine that gives recorded answers.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

/// A recorded answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// A success with this body.
    pub(crate) fn of(body: &Value) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string(),
        }
    }
}

/// The server; it ends with this.
pub(crate) struct Server {
    /// Where it is.
    pub(crate) url: String,
    _task: AbortOnDropHandle<()>,
}

/// Starts a server that answers as it is told to, by a request's path.
pub(crate) async fn serve(
    answer: impl Fn(&str) -> Answer + Clone + Send + Sync + 'static,
) -> Server {
    serve_requests(move |request| answer(request.uri.path())).await
}

/// Starts a server that answers as it is told to, by everything but a request's body.
pub(crate) async fn serve_requests(
    answer: impl Fn(&Parts) -> Answer + Clone + Send + Sync + 'static,
) -> Server {
    let router = Router::new().fallback(move |request: Request| {
        let (parts, _) = request.into_parts();
        let answer = answer(&parts);
        let mut response = Response::builder().status(answer.status);
        for (name, value) in answer.headers {
            response = response.header(name, value);
        }
        std::future::ready(response.body(Body::from(answer.body)).expect("an answer"))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        axum::serve(listener, router).await.expect("a server");
    });
    Server {
        url: format!("http://{address}"),
        _task: AbortOnDropHandle::new(task),
    }
}
