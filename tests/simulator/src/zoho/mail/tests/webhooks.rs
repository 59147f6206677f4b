//! Tests of outgoing webhooks.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use tokio::net::TcpListener;

use super::*;
use crate::zoho::mail::webhook::signature;

/// A received request: its secret, its signature and its body.
type Received = (Option<String>, Option<String>, Bytes);

/// A receiver that answers with a status.
#[derive(Clone)]
struct Receiver {
    requests: Arc<Mutex<Vec<Received>>>,
    status: Arc<Mutex<StatusCode>>,
}

impl Receiver {
    async fn start() -> (Self, String) {
        let receiver = Self {
            requests: Arc::default(),
            status: Arc::new(Mutex::new(StatusCode::OK)),
        };
        let routes = Router::new()
            .route("/hook", post(receive))
            .with_state(receiver.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (receiver, format!("http://{address}/hook"))
    }

    /// The requests since the last call.
    fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.requests.lock().expect("the requests"))
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let request = (header("x-hook-secret"), header("x-hook-signature"), body);
    receiver
        .requests
        .lock()
        .expect("the requests")
        .push(request);
    *receiver.status.lock().expect("the status")
}

/// Adds a webhook and returns its secret.
async fn arm(fixture: &Fixture, url: &str) -> String {
    let body = json!({ "account": ADMIN, "url": url });
    let webhook = fixture.control("zoho/mail/webhook", body).await;
    assert_eq!(webhook["active"], true, "{webhook}");
    webhook["secret"].as_str().expect("a secret").to_owned()
}

/// The requests after all deliveries.
async fn delivered(fixture: &Fixture, receiver: &Receiver) -> Vec<Received> {
    fixture.control("quiesce", json!({})).await;
    receiver.take()
}

#[tokio::test]
async fn handshake_brings_the_secret_in_four_forms() {
    let fixture = fixture(|_| {}).await;
    let (receiver, url) = Receiver::start().await;
    for (signed, sample) in [(false, false), (true, false), (false, true), (true, true)] {
        let settings = json!({ "handshake_signed": signed, "handshake_sample": sample });
        fixture.control("zoho_mail/settings", settings).await;
        let secret = arm(&fixture, &url).await;
        let [(brought, tag, body)] = &receiver.take()[..] else {
            panic!("one request");
        };
        assert_eq!(brought.as_ref(), Some(&secret));
        let expected = signed.then(|| signature(&secret, body));
        assert_eq!(tag, &expected);
        assert_eq!(body.is_empty(), !sample);
    }
    assert_eq!(fixture.ledger(), [], "a sample is no mail");
    let all = fixture.control_get("zoho/mail/webhook").await;
    assert_eq!(all["webhooks"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn refused_handshake_adds_no_webhook() {
    let fixture = fixture(|_| {}).await;
    let (receiver, url) = Receiver::start().await;
    *receiver.status.lock().expect("the status") = StatusCode::FORBIDDEN;
    let body = json!({ "account": ADMIN, "url": url });
    let webhook = fixture.control("zoho/mail/webhook", body).await;
    assert_eq!(
        (&webhook["active"], &webhook["status"]),
        (&json!(false), &json!(403))
    );
    receiver.take();
    fixture.act("mail.received", json!({})).await;
    assert!(delivered(&fixture, &receiver).await.is_empty());
}

#[tokio::test]
async fn delivery_has_exact_numbers_and_a_signature() {
    let fixture = fixture(|_| {}).await;
    let (receiver, url) = Receiver::start().await;
    let secret = arm(&fixture, &url).await;
    receiver.take();
    let id = fixture
        .act_id("mail.received", json!({ "subject": "A & B" }))
        .await;
    let [(None, Some(tag), body)] = &delivered(&fixture, &receiver).await[..] else {
        panic!("one signed delivery");
    };
    assert_eq!(*tag, signature(&secret, body));
    let text = std::str::from_utf8(body).expect("a text");
    assert!(text.contains(&format!("\"messageId\":{id},")), "{text}");
    let delivery: Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(delivery["messageIdString"], id.as_str());
    assert_eq!(delivery["subject"], "A & B");
    assert!(delivery.get("ccAddress").is_none());
    let zuid = delivery["zuid"].as_u64().expect("a number");
    assert_eq!(fixture.login, format!("us:{zuid}"));
    let row = &fixture.view("Inbox", "").await[0];
    assert_eq!(row["receivedTime"], delivery["receivedTime"].to_string());
    let row = fixture.row(&id).expect("a row");
    assert!(row.webhook && row.poll);

    let settings = json!({ "omit_message_id_string": true });
    fixture.control("zoho_mail/settings", settings).await;
    fixture.act("mail.received", json!({})).await;
    let requests = delivered(&fixture, &receiver).await;
    let delivery: Value = serde_json::from_slice(&requests[0].2).expect("JSON");
    assert!(delivery["messageIdString"].is_null() && delivery["messageId"].is_u64());
    assert!(delivery["ccAddress"].is_string());
}

#[tokio::test]
async fn only_incoming_mail_and_tasks_are_delivered() {
    let fixture = fixture(|_| {}).await;
    let (receiver, url) = Receiver::start().await;
    arm(&fixture, &url).await;
    receiver.take();
    let sent = fixture.act_id("mail.sent", json!({})).await;
    fixture.act("mail.draft", json!({})).await;
    fixture
        .act("mail.received", json!({ "folder": "Spam" }))
        .await;
    assert!(delivered(&fixture, &receiver).await.is_empty());
    assert!(!fixture.row(&sent).expect("a row").webhook);
    let trashed = json!({ "folder": "Trash" });
    let trashed = fixture.act_id("mail.received", trashed).await;
    fixture
        .act(
            "mail.moved",
            json!({ "message": trashed, "folder": "Inbox" }),
        )
        .await;
    assert_eq!(delivered(&fixture, &receiver).await.len(), 1);
    let row = fixture.row(&trashed).expect("a row");
    assert!(row.webhook && row.poll);
    fixture.act("task.added", json!({ "subject": "Pay" })).await;
    let requests = delivered(&fixture, &receiver).await;
    let task: Value = serde_json::from_slice(&requests[0].2).expect("JSON");
    assert!(task["entityId"].is_u64() && task["messageId"].is_null());
    assert_eq!(fixture.ledger().len(), 2, "a task is no fact");
}

#[tokio::test]
async fn trashed_mail_is_reported_by_webhook_only() {
    let fixture = fixture(|_| {}).await;
    let (receiver, url) = Receiver::start().await;
    arm(&fixture, &url).await;
    let id = fixture
        .act_id("mail.received", json!({ "folder": "Trash" }))
        .await;
    let row = fixture.row(&id).expect("a row");
    assert!(row.webhook && !row.poll);
    *receiver.status.lock().expect("the status") = StatusCode::SERVICE_UNAVAILABLE;
    let lost = fixture
        .act_id("mail.received", json!({ "folder": "Trash" }))
        .await;
    delivered(&fixture, &receiver).await;
    let row = fixture.row(&lost).expect("a row");
    assert!(!row.webhook && !row.poll, "not repeated by default");
}

#[tokio::test]
async fn forged_deliveries_precede_the_genuine_one() {
    let fixture = fixture(|_| {}).await;
    let (receiver, url) = Receiver::start().await;
    let secret = arm(&fixture, &url).await;
    receiver.take();
    let settings = json!({ "retry_seconds": [0.05] });
    fixture.control("zoho_mail/settings", settings).await;
    for effect in ["no_signature", "wrong_signature", "stranger"] {
        let fault = json!({ "target": "delivery", "effect": effect, "count": 1 });
        fixture.control("faults", fault).await;
        *receiver.status.lock().expect("the status") = StatusCode::UNAUTHORIZED;
        let id = fixture.act_id("mail.received", json!({})).await;
        let requests = delivered(&fixture, &receiver).await;
        let [forged, genuine] = &requests[..] else {
            panic!("{effect}: {} requests", requests.len());
        };
        assert_eq!(forged.1.is_none(), effect == "no_signature");
        assert_ne!(forged.1, Some(signature(&secret, &forged.2)), "{effect}");
        assert_eq!(forged.0.is_some(), effect == "stranger");
        let forged_body = String::from_utf8_lossy(&forged.2).into_owned();
        assert!(!forged_body.contains(&id), "{effect}: {forged_body}");
        assert_eq!(genuine.1, Some(signature(&secret, &genuine.2)), "{effect}");
        assert!(String::from_utf8_lossy(&genuine.2).contains(&id));
    }
}

#[tokio::test]
async fn each_webhook_of_a_mailbox_gets_the_mail() {
    let fixture = fixture(|_| {}).await;
    let (first, url) = Receiver::start().await;
    let (second, other) = Receiver::start().await;
    arm(&fixture, &url).await;
    arm(&fixture, &other).await;
    first.take();
    second.take();
    fixture.act("mail.received", json!({})).await;
    let seen = delivered(&fixture, &first).await.len() + second.take().len();
    assert_eq!(seen, 2);
    let removed = fixture
        .client
        .delete(format!(
            "{}/_sim/zoho/mail/webhook",
            fixture.simulator.base_url()
        ))
        .json(&json!({ "account": ADMIN, "url": other }))
        .send()
        .await
        .expect("a response");
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    fixture.act("mail.received", json!({})).await;
    assert_eq!(delivered(&fixture, &first).await.len(), 1);
    assert!(second.take().is_empty());
}
