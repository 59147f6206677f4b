//! The feed as server-sent events.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tests::harness::{DEFAULT_TIMEOUT, real_time};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::server::{Api, As, Team, read};
use crate::signals::wait_for_signals;

/// An open stream, read event by event.
struct Events {
    response: Response,
    text: String,
}

#[derive(Debug)]
struct Event {
    id: String,
    signal: Option<Value>,
}

impl Events {
    async fn open(api: &Api, team: &Team, path: &str, last: Option<&str>) -> Self {
        let mut request = api.request(Method::GET, path, team.auth());
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("a response");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event, without comments; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event = parse(&self.text[..end]);
                self.text.drain(..end + 2);
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let chunk = timeout(real_time(DEFAULT_TIMEOUT), self.response.chunk())
                .await
                .expect("in time");
            let chunk = chunk.expect("readable")?;
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    async fn signal(&mut self) -> (Uuid, String) {
        loop {
            let event = self.next().await.expect("an event");
            if let Some(signal) = event.signal {
                return (
                    signal["id"]
                        .as_str()
                        .expect("an id")
                        .parse()
                        .expect("a uuid"),
                    event.id,
                );
            }
        }
    }
}

fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|rest| rest.trim().to_owned())
    };
    let id = field("id:")?;
    let signal = field("data:").filter(|data| !data.is_empty());
    if signal.is_some() {
        assert_eq!(field("event:").as_deref(), Some("signal"));
    }
    Some(Event {
        id,
        signal: signal.map(|data| serde_json::from_str(&data).expect("JSON")),
    })
}

#[tokio::test]
async fn stream_delivers_new_signals_and_resumes() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    api.signal(&acme, connection, "issue_created", 9).await;
    wait_for_signals(&api, &acme, 1).await;

    let mut live = Events::open(&api, &acme, "/v1/signals/stream", None).await;
    let begin = live.next().await.expect("the first event");
    assert!(begin.signal.is_none(), "earlier Signals are not sent");
    let first = api.signal(&acme, connection, "issue_created", 1).await;
    let started_at = Instant::now();
    let (seen, last) = live.signal().await;
    assert_eq!(seen, first);
    assert!(
        started_at.elapsed() < Duration::from_secs(5),
        "{:?}",
        started_at.elapsed()
    );
    drop(live);

    let second = api.signal(&acme, connection, "issue_closed", 1).await;
    let path = "/v1/signals/stream";
    let mut resumed = Events::open(&api, &acme, path, Some(&last)).await;
    assert_eq!(resumed.signal().await.0, second);
    // The id of every event is a cursor, including that of the first.
    let path = format!("/v1/signals/stream?cursor={}", begin.id);
    let mut from_begin = Events::open(&api, &acme, &path, None).await;
    assert_eq!(from_begin.signal().await.0, first);
    assert_eq!(from_begin.signal().await.0, second);
    let page = api
        .get(&format!("/v1/signals?cursor={last}"), acme.auth())
        .await
        .ok();
    assert_eq!(page["signals"][0]["id"], json!(second));
}

#[tokio::test]
async fn stream_is_filtered_and_scoped_to_its_tenant() {
    let api = Api::start().await;
    let (acme, other) = (api.team("Acme").await, api.team("Other").await);
    let (mine, theirs) = (api.connection(&acme).await, api.connection(&other).await);
    let path = "/v1/signals/stream?kind=pr_merged&include=raw";
    let mut events = Events::open(&api, &acme, path, None).await;
    assert!(
        events
            .next()
            .await
            .expect("the first event")
            .signal
            .is_none()
    );
    api.signal(&other, theirs, "pr_merged", 1).await;
    api.signal(&acme, mine, "issue_created", 1).await;
    let wanted = api.signal(&acme, mine, "pr_merged", 1).await;
    let event = events.next().await.expect("an event");
    let signal = event.signal.expect("a Signal");
    assert_eq!(signal["id"], json!(wanted));
    assert_eq!(signal["payload"]["raw"], json!({ "id": 1 }));
}

#[tokio::test]
async fn stream_ends_with_the_server() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let mut events = Events::open(&api, &acme, "/v1/signals/stream", None).await;
    assert!(events.next().await.is_some());
    let ending = tokio::spawn({
        let lifecycle = api.lifecycle.clone();
        async move { lifecycle.shut_down().await }
    });
    assert!(events.next().await.is_none(), "the stream ends");
    assert!(ending.await.expect("no panic"), "no request was aborted");
}

#[tokio::test]
async fn rejected_stream_returns_a_problem() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = "/v1/signals/stream";
    api.get(path, As::Anonymous)
        .await
        .is_problem(401, "unauthorized");
    let scoped = json!({ "name": "jobs", "scopes": ["jobs:read"] });
    let key = api.key(acme.id, &scoped).await;
    api.get(path, As::Key(&key))
        .await
        .is_problem(403, "insufficient_scope");
    api.get(&format!("{path}?kind=x"), acme.auth())
        .await
        .is_problem(400, "invalid_parameters");
    let request = api
        .request(Method::GET, path, acme.auth())
        .header("Last-Event-ID", "x");
    read(request).await.is_problem(400, "invalid_parameters");
}
