//! Harness in which a connector calls a local server, which sends the input's responses.
//!
//! An input consists of parts, separated by a line `=====`. The first part is the operation:
//!
//! ```text
//! @operation: sync
//! @stream: issues:1
//! @target: {"full_name":"octo/repo"}
//! @cursor: null
//! ```
//!
//! Each further part is a response: `@status: 200`, headers, a blank line, the body. The server
//! sends them in order, and then 503. `http://provider` is replaced with the server's URL.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrono::Duration;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use shared::connectors::{
    Access, Callback, Connector, ConnectorError, Directory, Grant, RefreshRequest,
    SubscribeRequest, SyncPage, SyncRequest, WebhookDelivery,
};
use shared::model::{DirectoryKey, DirectoryKind, StreamSpec, Subscription, SubscriptionSpec};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use url::Url;

use crate::message::{Message, split_once};
use crate::{provider, providers, webhook};

const SEPARATOR: &[u8] = b"\n=====\n";
/// Maximum responses of an input.
const MAX_RESPONSES: usize = 8;
/// Headers that only the HTTP server may set.
const TRANSPORT_HEADERS: [header::HeaderName; 3] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

/// Response that the server sends.
#[derive(Debug, Clone)]
struct CannedResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl CannedResponse {
    fn parse(part: &[u8]) -> Self {
        let message = Message::parse(part);
        let status = message
            .directive("status")
            .and_then(|text| text.parse().ok());
        let mut headers = message.headers();
        for name in TRANSPORT_HEADERS {
            headers.remove(name);
        }
        Self {
            // Informational statuses do not end a response.
            status: status
                .filter(|status: &StatusCode| status.as_u16() >= 200)
                .unwrap_or(StatusCode::OK),
            headers,
            body: Bytes::copy_from_slice(message.body),
        }
    }

    fn unavailable() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// A connector, and the server that it calls as its provider.
pub struct ConnectorHarness {
    connector: Arc<dyn Connector>,
    base: String,
    runtime: Runtime,
    responses: Arc<Mutex<VecDeque<CannedResponse>>>,
}

impl ConnectorHarness {
    /// Starts the server.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start(slug: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let responses = Arc::default();
        let address = runtime.block_on(serve(Arc::clone(&responses)));
        let base = format!("http://{address}");
        Self {
            connector: providers::connector(slug, &base),
            base,
            runtime,
            responses,
        }
    }

    /// Runs the input's operation and checks the invariants.
    ///
    /// # Panics
    ///
    /// If an invariant is violated.
    pub fn run(&self, data: &[u8]) {
        let data = &self.substitute_base(data);
        let (operation, rest) = split_once(data, SEPARATOR).unwrap_or((data, b""));
        let operation = Message::parse(operation);
        let mut responses = Vec::new();
        let mut rest = Some(rest);
        while let Some(part) = rest.take().filter(|_| responses.len() < MAX_RESPONSES) {
            let (response, remaining) = split_once(part, SEPARATOR)
                .map_or((part, None), |(response, remaining)| {
                    (response, Some(remaining))
                });
            responses.push(CannedResponse::parse(response));
            rest = remaining;
        }
        self.runtime.block_on(async {
            if operation.directive("operation") == Some("sync") {
                self.sync(&operation, &responses).await;
            } else {
                self.enqueue(&responses);
                self.call(&operation).await;
            }
        });
    }

    /// Replaces `http://provider` with the server's URL.
    fn substitute_base(&self, data: &[u8]) -> Vec<u8> {
        let mut substituted = Vec::with_capacity(data.len());
        let mut rest = data;
        while let Some((before, after)) = split_once(rest, b"http://provider") {
            substituted.extend_from_slice(before);
            substituted.extend_from_slice(self.base.as_bytes());
            rest = after;
        }
        substituted.extend_from_slice(rest);
        substituted
    }

    fn enqueue(&self, responses: &[CannedResponse]) {
        let mut queue = self
            .responses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *queue = responses.iter().cloned().collect();
    }

    /// Reads a page twice with the same responses, then the next page.
    async fn sync(&self, operation: &Message<'_>, responses: &[CannedResponse]) {
        let cursor = operation.json("cursor");
        let first = self.page(operation, cursor.clone(), responses).await;
        let again = self.page(operation, cursor, responses).await;
        assert_eq!(
            format!("{first:?}"),
            format!("{again:?}"),
            "the same responses give different pages"
        );
        let Ok(page) = first else { return };
        webhook::check_signals(&*self.connector, &page.signals);
        let text = page.cursor.to_string();
        assert_eq!(serde_json::from_str(&text).ok(), Some(page.cursor.clone()));
        // The next page accepts the cursor, unless the input made it link to another server.
        let next = self.page(operation, Some(page.cursor), &[]).await;
        let is_foreign = text.replace(&self.base, "").contains("://");
        assert!(
            is_foreign || !matches!(next, Err(ConnectorError::CursorExpired(_))),
            "the page's cursor is rejected: {text}"
        );
    }

    async fn page(
        &self,
        operation: &Message<'_>,
        cursor: Option<serde_json::Value>,
        responses: &[CannedResponse],
    ) -> Result<SyncPage, ConnectorError> {
        self.enqueue(responses);
        let key = operation.directive("stream").unwrap_or_default();
        let request = SyncRequest {
            access: access(),
            stream: StreamSpec {
                key: key.to_owned(),
                resource_id: key.split_once(':').map(|(_, id)| id.to_owned()),
                target: operation.json("target").unwrap_or_default(),
            },
            cursor,
            backfill_from: provider::now() - Duration::days(90),
            upper_bound: provider::now(),
            resync_from: None,
            reconcile_from: None,
            failures: 0,
            priority: shared::http::Priority::Poll,
            directory: Arc::new(Directory::default()),
        };
        self.connector.sync(request).await
    }

    /// Runs any other operation, which must finish without a panic.
    async fn call(&self, operation: &Message<'_>) {
        let (connector, access) = (&self.connector, access());
        let account = provider::account();
        let url = Url::parse("https://hooks.example.com/webhooks/provider").expect("a URL");
        match operation.directive("operation").unwrap_or_default() {
            "exchange" => {
                let query = operation.directive("query").unwrap_or_default().as_bytes();
                let callback = Callback {
                    query: url::form_urlencoded::parse(query).into_owned().collect(),
                    code_verifier: "a-verifier".into(),
                    redirect_uri: url,
                    context: operation.json("context"),
                };
                connector.exchange_token(callback).await.ok();
            }
            "refresh" => {
                let request = RefreshRequest {
                    account,
                    access_token: Some("a-token".into()),
                    refresh_token: Some("a-refresh-token".into()),
                };
                connector.refresh_token(request).await.ok();
            }
            "revoke" => {
                let grant = Grant {
                    account,
                    access_token: Some("a-token".into()),
                    refresh_token: Some("a-refresh-token".into()),
                };
                connector.revoke(&grant).await.ok();
            }
            "resolve_directory" => {
                let keys = [
                    (DirectoryKind::User, "U0ADA"),
                    (DirectoryKind::Bot, "B0BOT"),
                    (DirectoryKind::Channel, "C0GENERAL"),
                    (DirectoryKind::Status, "10000"),
                    (DirectoryKind::Issue, "20001"),
                    (DirectoryKind::Drive, "0ADrive"),
                ];
                let keys = keys.map(|(kind, id)| DirectoryKey::new(kind, id));
                connector.resolve_directory(&access, &keys).await.ok();
            }
            "recipients" => {
                let delivery = WebhookDelivery {
                    headers: Vec::new(),
                    body: Bytes::from_static(br#"{"event_context":"a-context"}"#),
                    received_at: provider::now(),
                    account,
                    subscription: None,
                };
                connector.list_recipients(&delivery).await.ok();
            }
            "recover" => {
                let since = provider::now() - Duration::days(1);
                connector.redeliver_webhooks(since).await.ok();
            }
            _ => self.subscriptions(&access, &url).await,
        }
    }

    async fn subscriptions(&self, access: &Access, url: &Url) {
        let connector = &self.connector;
        let request = SubscribeRequest {
            spec: SubscriptionSpec {
                resource: "issues:projects".to_owned(),
                target: serde_json::json!({ "projects": ["ENG"] }),
            },
            planned_id: Some("planned".to_owned()),
            webhook_url: url.clone(),
        };
        let Ok(listed) = connector.list_subscriptions(access).await else {
            return;
        };
        let created = connector.subscribe(access, &request).await;
        let all: Vec<Subscription> = listed.into_iter().chain(created.ok()).collect();
        for subscription in all.iter().take(MAX_RESPONSES) {
            connector.renew(access, subscription, &request).await.ok();
            connector.unsubscribe(access, subscription).await.ok();
        }
    }
}

fn access() -> Access {
    Access {
        account: provider::account(),
        token: "a-token".into(),
        user_token: Some("a-user-token".into()),
    }
}

/// Serves the responses while the runtime exists.
async fn serve(responses: Arc<Mutex<VecDeque<CannedResponse>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let responses = Arc::clone(&responses);
            let service = service_fn(move |_| {
                let mut queue = responses.lock().unwrap_or_else(PoisonError::into_inner);
                let response = queue
                    .pop_front()
                    .unwrap_or_else(CannedResponse::unavailable);
                async move { Ok::<_, Infallible>(response.into_response()) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}
