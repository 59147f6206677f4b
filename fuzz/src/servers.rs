//! api-server and webhook-ingress over HTTP, without a database.
//!
//! An input's first line is `METHOD target` for api-server, or `hooks METHOD target` for
//! webhook-ingress.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use shared::config::Env;
use shared::service::{Lifecycle, Service};
use shared::telemetry::MetricsHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::message::Message;
use crate::providers;

/// Token of the operator.
pub const OPERATOR_TOKEN: &str = "an-operators-token-of-32-characters-or-more";

/// Database URL that fails immediately.
const DATABASE_URL: &str = "postgres://poblysh@localhost/poblysh?host=/nonexistent";

/// A running server with the socket of a client.
struct Server {
    address: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
    _lifecycle: Lifecycle,
}

/// Both servers.
pub struct Servers {
    runtime: Runtime,
    api: Server,
    hooks: Server,
}

impl Servers {
    /// Starts both servers.
    ///
    /// # Panics
    ///
    /// If a server fails to start.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (api, hooks) = runtime.block_on(async { (api().await, hooks().await) });
        Self {
            runtime,
            api,
            hooks,
        }
    }

    /// Sends a request, if the input is one, and checks the response.
    ///
    /// # Panics
    ///
    /// If the response violates an invariant.
    pub fn run(&mut self, data: &[u8]) {
        let message = Message::parse(data);
        let Some((to_hooks, request)) = request(&message) else {
            return;
        };
        let is_head = request.method() == Method::HEAD;
        let server = if to_hooks {
            &mut self.hooks
        } else {
            &mut self.api
        };
        let (parts, body) = self.runtime.block_on(async {
            let response = server.send(request).await;
            let (parts, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .expect("a complete response")
                .to_bytes();
            (parts, body)
        });
        check(&Response::from_parts(parts, body), is_head);
    }
}

impl Server {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Response<hyper::body::Incoming> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => self.connect().await,
        };
        // A connection that the server has closed fails here.
        let response = match connection.ready().await {
            Ok(()) => connection.send_request(request.clone()).await,
            Err(error) => Err(error),
        };
        let response = if let Ok(response) = response {
            response
        } else {
            connection = self.connect().await;
            let response = connection.send_request(request).await;
            response.expect("a response")
        };
        self.connection = Some(connection);
        response
    }

    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        sender
    }
}

/// Parses a message as a request, if it is a valid one.
fn request(message: &Message<'_>) -> Option<(bool, Request<Full<Bytes>>)> {
    let first = std::str::from_utf8(message.lines().next()?).ok()?;
    let (to_hooks, first) = match first.strip_prefix("hooks ") {
        Some(rest) => (true, rest),
        None => (false, first),
    };
    let (method, target) = first.split_once(' ')?;
    let method: Method = method.parse().ok()?;
    let uri: Uri = target.parse().ok()?;
    // CONNECT and absolute URIs are for proxies.
    if method == Method::CONNECT || uri.authority().is_some() {
        return None;
    }
    let body = Bytes::copy_from_slice(message.body);
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    *headers = message.headers();
    for name in [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::EXPECT,
        header::TE,
    ] {
        headers.remove(name);
    }
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    let signer = message.directive("sign").and_then(providers::find);
    if let Some(provider) = signer {
        (provider.sign)(message, headers, 0);
    }
    Some((to_hooks, request))
}

/// Checks that an error response is problem details (RFC 9457).
///
/// The only 5xx status is 503, for the missing database.
fn check(response: &Response<Bytes>, is_head: bool) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return;
    }
    assert!(
        status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE,
        "{response:?}"
    );
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok());
    assert_eq!(kind, Some("application/problem+json"), "{response:?}");
    if is_head {
        return;
    }
    let body: Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!(body["status"], status.as_u16(), "{body}");
    for name in ["title", "code", "message"] {
        let text = body[name].as_str();
        assert!(text.is_some_and(|text| !text.is_empty()), "{name}: {body}");
    }
    let code = body["code"].as_str().unwrap_or_default();
    assert_eq!(body["type"], format!("urn:poblysh:problem:{code}"));
    let known = [
        "type",
        "title",
        "status",
        "code",
        "message",
        "details",
        "retry_after",
    ];
    let fields = body.as_object().expect("an object");
    assert!(
        fields.keys().all(|name| known.contains(&name.as_str())),
        "{body}"
    );
}

fn env() -> Env {
    let own = [
        ("POBLYSH_DATABASE_URL", DATABASE_URL),
        (
            "POBLYSH_CRYPTO_KEY",
            "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
        ),
        ("POBLYSH_OPERATOR_TOKEN", OPERATOR_TOKEN),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let providers = providers::settings("http://localhost:1");
    Env::from_pairs(own.into_iter().chain(providers))
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

async fn api() -> Server {
    let config = api_server::Config::from_env(&env()).expect("valid settings");
    let metrics = MetricsHandle::global().expect("a recorder");
    let server = api_server::start(config, listener().await, metrics).await;
    running(&server.expect("it starts without a database"))
}

async fn hooks() -> Server {
    let config = webhook_ingress::Config::from_env(&env()).expect("valid settings");
    let metrics = MetricsHandle::global().expect("a recorder");
    let server = webhook_ingress::start(config, listener().await, metrics).await;
    running(&server.expect("it starts without a database"))
}

fn running(service: &Service) -> Server {
    Server {
        address: service.address(),
        connection: None,
        _lifecycle: service.lifecycle().clone(),
    }
}
