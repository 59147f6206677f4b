//! Deliveries of extensions and of Deluge scripts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Fixture, fixture, ids, rows, service, text, time_of};
use crate::provider::Provider as _;

/// A received delivery.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) headers: HeaderMap,
    pub(super) raw: Bytes,
    pub(super) body: Value,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?;
        value.to_str().ok().map(str::to_owned)
    }

    /// Whether the signature is that of this public key over the body as it came.
    pub(super) fn is_signed_by(&self, public_key: &str) -> bool {
        let Some(signature) = self.header("x-cliq-signature") else {
            return false;
        };
        let key = STANDARD.decode(public_key).expect("base64");
        let signature = STANDARD.decode(signature).expect("base64");
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
        key.verify(&self.raw, &signature).is_ok()
    }

    /// Handler and operation.
    fn event(&self) -> String {
        let handler = text(&self.body["handler"], "type");
        match self.body["params"]["operation"].as_str() {
            Some(operation) => format!("{handler}.{operation}"),
            None => handler,
        }
    }
}

/// A receiver that accepts all deliveries.
pub(super) struct Receiver {
    url: String,
    all: Arc<Mutex<Vec<Received>>>,
}

pub(super) async fn receiver() -> Receiver {
    let all = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&all);
    let take = async move |headers: HeaderMap, raw: Bytes| {
        let body = serde_json::from_slice(&raw).unwrap_or_default();
        let delivery = Received { headers, raw, body };
        received.lock().expect("a lock").push(delivery);
        axum::Json(json!({}))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let routes = Router::new().route("/", post(take));
    tokio::spawn(async { axum::serve(listener, routes).await });
    Receiver { url, all }
}

impl Receiver {
    /// Creates an extension of the administrator in all channels.
    pub(super) async fn extension(&self, fixture: &Fixture, more: Value) -> Value {
        let mut body = json!({ "account": fixture.login, "url": self.url, "chats": true });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        let (status, extension) = fixture.control("zoho/cliq/extension", &body).await;
        assert_eq!(status, 201, "{extension}");
        extension
    }

    /// Deliveries since the last call, after all have an outcome.
    pub(super) async fn take(&self, fixture: &Fixture) -> Vec<Received> {
        let unfinished = service(&fixture.simulator).unfinished();
        assert!(unfinished.quiesce(Duration::from_secs(20)).await);
        std::mem::take(&mut *self.all.lock().expect("a lock"))
    }
}

#[tokio::test]
async fn message_and_mention_are_one_fact() {
    let fixture = fixture().await;
    let receiver = receiver().await;
    let extension = receiver.extension(&fixture, json!({})).await;
    let (chat, _) = fixture.channel("organization").await;
    let id = fixture
        .post(&chat, json!({ "text": "Look <here>", "mentions": ["bot"] }))
        .await;
    let deliveries = receiver.take(&fixture).await;
    let mut events: Vec<String> = deliveries.iter().map(Received::event).collect();
    events.sort();
    assert_eq!(
        events,
        ["mention_handler", "participation_handler.message_sent"]
    );
    let key = text(&extension, "public_key");
    for delivery in &deliveries {
        assert!(delivery.is_signed_by(&key));
        assert_eq!(delivery.raw, delivery.body.to_string(), "compact JSON");
        let params = &delivery.body["params"];
        assert_eq!(params["chat"]["id"], json!(chat));
        let organization = &params["access"]["organization"]["id"];
        assert_eq!(organization, &extension["organization_id"]);
        match delivery.event().as_str() {
            "mention_handler" => assert_eq!(text(&params["message"], "time"), time_of(&id)),
            _ => assert_eq!(params["data"]["time"].to_string(), time_of(&id)),
        }
    }
    let row = fixture.row(&format!("message:{chat}:{}", time_of(&id)));
    assert!(row.is_some_and(|row| row.webhook && row.poll && !row.polled));
    let (_, colleague) = fixture.colleague(0);
    let rows = fixture.ledger(&colleague);
    assert!(rows.iter().all(|row| !row.webhook), "of another account");
}

#[tokio::test]
async fn edits_and_deletions_are_only_delivered() {
    let fixture = fixture().await;
    let receiver = receiver().await;
    receiver.extension(&fixture, json!({})).await;
    let (chat, _) = fixture.channel("organization").await;
    let id = fixture.post(&chat, json!({})).await;
    let time = time_of(&id);
    let params = json!({ "chat": chat, "message": id, "text": "new" });
    let first = fixture.act("message.edited", params.clone()).await;
    let second = fixture.act("message.edited", params.clone()).await;
    fixture.act("message.deleted", params).await;
    let deliveries = receiver.take(&fixture).await;
    let edits = deliveries
        .iter()
        .filter(|one| one.event().ends_with("message_edited"));
    let mut stated: Vec<i64> = edits
        .map(|one| {
            let data = &one.body["params"]["data"];
            assert_eq!(data["time"].to_string(), time);
            assert!(text(&data["message"], "text").starts_with("new"));
            one.body["timestamp"].as_i64().expect("a time")
        })
        .collect();
    stated.sort_unstable();
    let timestamps = [&first, &second].map(|one| one["object"]["timestamp"].as_i64());
    assert_eq!(
        stated.iter().copied().map(Some).collect::<Vec<_>>(),
        timestamps
    );
    let mut keys: Vec<String> = stated
        .iter()
        .map(|edited| format!("message:{chat}:{time}:edited:{edited}"))
        .collect();
    keys.push(format!("message:{chat}:{time}:deleted"));
    for key in keys {
        let row = fixture.row(&key);
        assert!(row.is_some_and(|row| row.webhook && !row.poll), "{key}");
    }
    let posted = fixture.row(&format!("message:{chat}:{time}"));
    assert!(posted.is_some_and(|row| row.webhook && !row.poll && !row.polled));
}

#[tokio::test]
async fn edit_may_state_its_own_time() {
    let fixture = fixture().await;
    fixture.settings(|settings| settings.edits_state_own_time = true);
    let receiver = receiver().await;
    receiver.extension(&fixture, json!({})).await;
    let (chat, _) = fixture.channel("organization").await;
    let id = fixture.post(&chat, json!({})).await;
    let params = json!({ "chat": chat, "message": id });
    let answer = fixture.act("message.edited", params).await;
    let edited = answer["object"]["timestamp"].to_string();
    let deliveries = receiver.take(&fixture).await;
    let last = deliveries
        .iter()
        .find(|one| one.event().ends_with("edited"));
    let data = &last.expect("an edit").body["params"]["data"];
    assert_eq!(data["time"].to_string(), edited);
    let row = fixture.row(&format!("message:{chat}:{edited}:edited:{edited}"));
    assert!(row.is_some_and(|row| row.webhook));
}

#[tokio::test]
async fn bot_gets_only_chats_that_it_is_in() {
    let fixture = fixture().await;
    let receiver = receiver().await;
    let extension = receiver.extension(&fixture, json!({ "chats": [] })).await;
    let (chat, _) = fixture.channel("organization").await;
    fixture.post(&chat, json!({})).await;
    assert!(receiver.take(&fixture).await.is_empty());
    fixture.act("bot.added", json!({ "chat": chat })).await;
    fixture.post(&chat, json!({ "as_bot": true })).await;
    let deliveries = receiver.take(&fixture).await;
    let mut events: Vec<String> = deliveries.iter().map(Received::event).collect();
    events.sort();
    let prefix = "participation_handler";
    assert_eq!(
        events,
        [format!("{prefix}.added"), format!("{prefix}.message_sent")]
    );
    let posted = deliveries.iter().find(|one| one.event().ends_with("sent"));
    let user = &posted.expect("a message").body["params"]["user"];
    assert_eq!(user["id"], extension["bot_id"]);
    let sender = &fixture.messages(&chat, &[]).await[1]["sender"];
    assert_eq!(sender["id"], extension["bot_id"]);

    fixture.act("thread.started", json!({ "chat": chat })).await;
    let answer = fixture.act("bot.removed", json!({ "chat": chat })).await;
    assert_eq!(rows(&answer, "deliveries").len(), 1);
    fixture.post(&chat, json!({})).await;
    let mut events: Vec<String> = {
        let deliveries = receiver.take(&fixture).await;
        deliveries.iter().map(Received::event).collect()
    };
    events.sort();
    let expected = ["auto_followed_thread", "message_sent", "removed"];
    assert_eq!(
        events,
        expected.map(|operation| format!("{prefix}.{operation}"))
    );
}

#[tokio::test]
async fn message_to_the_bot_is_only_delivered() {
    let fixture = fixture().await;
    let receiver = receiver().await;
    receiver.extension(&fixture, json!({})).await;
    let params = json!({ "text": "Hi", "file": "plan.pdf", "mentions": ["bot"] });
    let answer = fixture.act("bot.messaged", params).await;
    let (chat, id) = (
        text(&answer["object"], "chat"),
        text(&answer["object"], "id"),
    );
    let deliveries = receiver.take(&fixture).await;
    let mut events: Vec<String> = deliveries.iter().map(Received::event).collect();
    events.sort();
    assert_eq!(events, ["mention_handler", "message_handler"]);
    let message = deliveries
        .iter()
        .find(|one| one.event() == "message_handler");
    let params = &message.expect("a message").body["params"];
    assert_eq!(params["message"], "@Poblysh Hi");
    assert_eq!(params["message_details"]["time"].to_string(), time_of(&id));
    assert_eq!(params["attachments"], json!(["plan.pdf"]));
    let row = fixture.row(&format!("message:{chat}:{}", time_of(&id)));
    assert!(row.is_some_and(|row| row.webhook && !row.poll));
    let chats = ids(&rows(&fixture.read("chats", &[]).await, "chats"), "chat_id");
    assert!(!chats.contains(&chat));
}

#[tokio::test]
async fn script_sends_its_token_and_fields() {
    let fixture = fixture().await;
    let receiver = receiver().await;
    receiver
        .extension(&fixture, json!({ "token": "secret" }))
        .await;
    let (chat, _) = fixture.channel("organization").await;
    let id = fixture.post(&chat, json!({ "mentions": ["bot"] })).await;
    let deliveries = receiver.take(&fixture).await;
    assert_eq!(deliveries.len(), 2);
    for delivery in &deliveries {
        assert_eq!(
            delivery.header("x-connector-token").as_deref(),
            Some("secret")
        );
        assert_eq!(delivery.header("x-cliq-signature"), None);
        let body = &delivery.body;
        assert_eq!(body["chat"]["id"], json!(chat));
        let details = match text(body, "handler").as_str() {
            "participation" => &body["data"],
            _ => &body["message_details"],
        };
        assert_eq!(details["time"].to_string(), time_of(&id));
    }
    fixture.settings(|settings| settings.deluge_plain_messages = true);
    let answer = fixture.act("bot.messaged", json!({ "text": "Hi" })).await;
    let object = &answer["object"];
    let body = receiver.take(&fixture).await[0].body.clone();
    assert_eq!(
        (&body["message"], body.get("message_details")),
        (&json!("Hi"), None)
    );
    let key = format!(
        "message:{}:{}",
        text(object, "chat"),
        time_of(&text(object, "id"))
    );
    assert!(
        fixture.row(&key).is_some_and(|row| !row.webhook),
        "without a time"
    );

    fixture.settings(|settings| settings.deluge_form = true);
    fixture.post(&chat, json!({ "text": "a&b" })).await;
    let form = receiver.take(&fixture).await[0].clone();
    let content_type = form.header("content-type");
    assert_eq!(
        content_type.as_deref(),
        Some("application/x-www-form-urlencoded")
    );
    let mut fields = url::form_urlencoded::parse(&form.raw);
    let (_, data) = fields.find(|(name, _)| name == "data").expect("data");
    let data: Value = serde_json::from_str(&data).expect("JSON");
    assert_eq!(data["message"]["text"], "a&b");
}

#[tokio::test]
async fn removed_extension_sends_nothing() {
    let fixture = fixture().await;
    let receiver = receiver().await;
    let first = receiver.extension(&fixture, json!({})).await;
    let organization = text(&first, "organization_id");
    let body = json!({ "org": organization, "url": receiver.url });
    let (status, second) = fixture.control("zoho/cliq/extension", &body).await;
    assert_eq!((status, &second["account"]), (201, &json!(fixture.login)));
    assert_ne!(first["public_key"], second["public_key"]);
    let keys = format!("{}/_sim/zoho/keys", fixture.simulator.base_url());
    let keys: Value = {
        let response = fixture.client.get(&keys).send().await.expect("a response");
        response.json().await.expect("JSON")
    };
    let listed = ids(&rows(&keys, "extensions"), "public_key");
    assert_eq!(listed, [&first, &second].map(|one| text(one, "public_key")));
    let body = json!({ "account": fixture.login, "url": "" });
    let (status, removed) = fixture.control("zoho/cliq/extension", &body).await;
    assert_eq!((status, rows(&removed, "removed").len()), (200, 2));
    let (chat, _) = fixture.channel("organization").await;
    fixture.post(&chat, json!({})).await;
    assert!(receiver.take(&fixture).await.is_empty());
}
