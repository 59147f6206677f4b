//! A local server of recorded responses.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

/// A recorded response.
#[derive(Debug, Clone)]
pub(crate) struct RecordedResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl RecordedResponse {
    /// A response with status 200 and a JSON body.
    pub(crate) fn of(body: &Value) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string(),
        }
    }
}

/// A running server, which stops when this is dropped.
pub(crate) struct Server {
    /// Base URL.
    pub(crate) url: String,
    _task: AbortOnDropHandle<()>,
}

/// Starts a server whose responses depend on the request's path.
pub(crate) async fn serve(
    respond: impl Fn(&str) -> RecordedResponse + Clone + Send + Sync + 'static,
) -> Server {
    serve_requests(move |request| respond(request.uri.path())).await
}

/// Starts a server whose responses depend on the request without its body.
pub(crate) async fn serve_requests(
    respond: impl Fn(&Parts) -> RecordedResponse + Clone + Send + Sync + 'static,
) -> Server {
    let router = Router::new().fallback(move |request: Request| {
        let (parts, _) = request.into_parts();
        let recorded = respond(&parts);
        let mut response = Response::builder().status(recorded.status);
        for (name, value) in recorded.headers {
            response = response.header(name, value);
        }
        std::future::ready(
            response
                .body(Body::from(recorded.body))
                .expect("a response"),
        )
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
