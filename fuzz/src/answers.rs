//! Answers of a provider's API: a connector asks a server on this machine, which answers what
//! the input says.
//!
//! An input is parts with a line `=====` between them. The first says what is asked:
//!
//! ```text
//! @do: sync
//! @stream: issues:1
//! @target: {"full_name":"octo/repo"}
//! @cursor: null
//! ```
//!
//! Each of the others is an answer: `@status: 200`, headers, a blank line, the body. They are
//! given in their order, and what is asked beyond them is answered with 503. `http://provider`
//! stands for where the server is.

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
    Access, Callback, Connector, ConnectorError, Directory, DirectoryKey, DirectoryKind, Grant,
    RefreshRequest, StreamSpec, Subscription, SubscriptionSpec, SyncPage, SyncRequest,
    WebhookDelivery,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use url::Url;

use crate::message::{Message, split_once};
use crate::{provider, webhook};

const SEPARATOR: &[u8] = b"\n=====\n";
/// Answers that an input may have.
const MOST_ANSWERS: usize = 8;
/// Headers that only the transport may set.
const OF_THE_TRANSPORT: [header::HeaderName; 3] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

#[derive(Debug, Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn parse(part: &[u8]) -> Self {
        let message = Message::parse(part);
        let status = message.word("status").and_then(|text| text.parse().ok());
        let mut headers = message.headers();
        for name in OF_THE_TRANSPORT {
            headers.remove(name);
        }
        Self {
            // What is below is not the end of an answer.
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

    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// A connector, and the server in its provider's place.
pub struct Asking {
    connector: Arc<dyn Connector>,
    base: String,
    runtime: Runtime,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Asking {
    /// Starts the server.
    ///
    /// # Panics
    ///
    /// When this machine has no port for it.
    pub fn start(slug: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let answers = Arc::default();
        let address = runtime.block_on(serve(Arc::clone(&answers)));
        let base = format!("http://{address}");
        Self {
            connector: provider::connector(slug, &base),
            base,
            runtime,
            answers,
        }
    }

    /// Has the connector ask what the input says.
    ///
    /// # Panics
    ///
    /// When something does not hold.
    pub fn run(&self, data: &[u8]) {
        let data = &self.placed(data);
        let (question, rest) = split_once(data, SEPARATOR).unwrap_or((data, b""));
        let question = Message::parse(question);
        let mut answers = Vec::new();
        let mut rest = Some(rest);
        while let Some(part) = rest.take().filter(|_| answers.len() < MOST_ANSWERS) {
            let (answer, more) = split_once(part, SEPARATOR)
                .map_or((part, None), |(answer, more)| (answer, Some(more)));
            answers.push(Answer::parse(answer));
            rest = more;
        }
        self.runtime.block_on(async {
            if question.word("do") == Some("sync") {
                self.sync(&question, &answers).await;
            } else {
                self.will_answer(&answers);
                self.other(&question).await;
            }
        });
    }

    /// The input with the server's own address in its place.
    fn placed(&self, data: &[u8]) -> Vec<u8> {
        let mut placed = Vec::with_capacity(data.len());
        let mut rest = data;
        while let Some((before, after)) = split_once(rest, b"http://provider") {
            placed.extend_from_slice(before);
            placed.extend_from_slice(self.base.as_bytes());
            rest = after;
        }
        placed.extend_from_slice(rest);
        placed
    }

    fn will_answer(&self, answers: &[Answer]) {
        let mut queue = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *queue = answers.iter().cloned().collect();
    }

    /// Reads a page, and once more with the same answers; then goes on behind it.
    async fn sync(&self, question: &Message<'_>, answers: &[Answer]) {
        let cursor = question.json("cursor");
        let first = self.page(question, cursor.clone(), answers).await;
        let again = self.page(question, cursor, answers).await;
        assert_eq!(
            format!("{first:?}"),
            format!("{again:?}"),
            "the same answers say something else"
        );
        let Ok(page) = first else { return };
        webhook::check_signals(&*self.connector, &page.signals);
        let text = page.cursor.to_string();
        assert_eq!(serde_json::from_str(&text).ok(), Some(page.cursor.clone()));
        // A cursor that a page left is one that the next page can be read with. One that leads
        // to another server, as the input may say, is none.
        let next = self.page(question, Some(page.cursor), &[]).await;
        let elsewhere = text.replace(&self.base, "").contains("://");
        assert!(
            elsewhere || !matches!(next, Err(ConnectorError::CursorExpired(_))),
            "its own cursor is not understood: {text}"
        );
    }

    async fn page(
        &self,
        question: &Message<'_>,
        cursor: Option<serde_json::Value>,
        answers: &[Answer],
    ) -> Result<SyncPage, ConnectorError> {
        self.will_answer(answers);
        let key = question.word("stream").unwrap_or_default();
        let request = SyncRequest {
            access: access(),
            stream: StreamSpec {
                key: key.to_owned(),
                resource_id: key.split_once(':').map(|(_, id)| id.to_owned()),
                target: question.json("target").unwrap_or_default(),
            },
            cursor,
            horizon: provider::now() - Duration::days(90),
            until: provider::now(),
            reconcile_from: None,
            failures: 0,
            priority: shared::http::Priority::Poll,
            directory: Arc::new(Directory::default()),
        };
        self.connector.sync(request).await
    }

    /// Everything else that a connector asks for: whatever comes of it, it comes to an end.
    async fn other(&self, question: &Message<'_>) {
        let (connector, access) = (&self.connector, access());
        let account = provider::account();
        let url = Url::parse("https://hooks.example.com/webhooks/provider").expect("a URL");
        match question.word("do").unwrap_or_default() {
            "exchange" => {
                let query = question.word("query").unwrap_or_default().as_bytes();
                let callback = Callback {
                    query: url::form_urlencoded::parse(query).into_owned().collect(),
                    code_verifier: "a-verifier".into(),
                    redirect_uri: url,
                    carry: question.json("carry"),
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
            "look_up" => {
                let keys = [
                    (DirectoryKind::User, "U0ADA"),
                    (DirectoryKind::Bot, "B0BOT"),
                    (DirectoryKind::Channel, "C0GENERAL"),
                    (DirectoryKind::Status, "10000"),
                    (DirectoryKind::Issue, "20001"),
                ];
                let keys = keys.map(|(kind, id)| DirectoryKey::new(kind, id));
                connector.look_up(&access, &keys).await.ok();
            }
            "recipients" => {
                let delivery = WebhookDelivery {
                    headers: Vec::new(),
                    body: Bytes::from_static(br#"{"event_context":"a-context"}"#),
                    received_at: provider::now(),
                    account,
                };
                connector.recipients(&delivery).await.ok();
            }
            "recover" => {
                let since = provider::now() - Duration::days(1);
                connector.recover_deliveries(since).await.ok();
            }
            _ => self.subscriptions(&access, &url).await,
        }
    }

    async fn subscriptions(&self, access: &Access, url: &Url) {
        let connector = &self.connector;
        let wanted = SubscriptionSpec {
            resource: "issues:projects".to_owned(),
            target: serde_json::json!({ "projects": ["ENG"] }),
        };
        let Ok(held) = connector.subscriptions(access).await else {
            return;
        };
        let made = connector.subscribe(access, &wanted, url).await;
        let all: Vec<Subscription> = held.into_iter().chain(made.ok()).collect();
        for subscription in all.iter().take(MOST_ANSWERS) {
            connector.renew(access, subscription).await.ok();
            connector.unsubscribe(access, subscription).await.ok();
        }
    }
}

fn access() -> Access {
    Access {
        account: provider::account(),
        token: "a-token".into(),
        person: Some("a-persons-token".into()),
    }
}

/// Serves the answers for as long as the runtime lives.
async fn serve(answers: Arc<Mutex<VecDeque<Answer>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            let service = service_fn(move |_| {
                let mut queue = answers.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = queue.pop_front().unwrap_or_else(Answer::unavailable);
                async move { Ok::<_, Infallible>(answer.response()) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}
