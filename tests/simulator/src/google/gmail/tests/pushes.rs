//! Tests of watches and of the pushes of Pub/Sub.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use tokio::net::TcpListener;

use super::*;

/// Tokens and bodies of received pushes, in order.
type Pushes = Arc<Mutex<Vec<(Option<String>, Value)>>>;

/// A simulator with a watched mailbox, and a receiver that rejects some pushes first.
async fn watched(failures: usize) -> (Fixture, Pushes) {
    let pushes = Pushes::default();
    let seen = Arc::clone(&pushes);
    let receiver = Router::new().route(
        "/webhooks/gmail",
        post(move |headers: HeaderMap, body: Bytes| {
            let token = headers.get("authorization");
            let token = token.map(|value| value.to_str().expect("text").to_owned());
            let body = serde_json::from_slice(&body).expect("JSON");
            let mut seen = seen.lock().expect("the list of pushes");
            seen.push((token, body));
            let status = if seen.len() > failures {
                StatusCode::NO_CONTENT
            } else {
                // Any status that does not acknowledge, even a successful one.
                StatusCode::RESET_CONTENT
            };
            async move { status }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let fixture = fixture(|config| config.webhook_url = Some(format!("http://{address}"))).await;
    fixture.simulator.shorten_retry_delays();
    fixture
        .simulator
        .change_gmail(|settings| settings.notification_milliseconds = 0);
    let topic = gmail(&fixture.simulator).settings().topic_name();
    let body =
        json!({ "topicName": topic, "labelIds": ["SPAM"], "labelFilterBehavior": "exclude" });
    let (status, body) = fixture
        .call("POST", "/gmail/v1/users/me/watch", Some(body))
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    (fixture, pushes)
}

async fn received(fixture: &Fixture, pushes: &Pushes) -> Vec<(Option<String>, Value)> {
    fixture.control("quiesce", json!({})).await;
    let mut pushes = pushes.lock().expect("the list of pushes");
    std::mem::take(&mut *pushes)
}

/// Whether a receiver that follows Google's guide accepts a token.
fn verifies(fixture: &Fixture, token: Option<&str>) -> bool {
    let Some(token) = token.and_then(|text| text.strip_prefix("Bearer ")) else {
        return false;
    };
    let service = gmail(&fixture.simulator);
    let Ok(header) = jsonwebtoken::decode_header(token) else {
        return false;
    };
    let set = service.google.keys.jwks();
    let keys = set["keys"].as_array().expect("keys");
    let Some(key) = keys
        .iter()
        .find(|key| key["kid"].as_str() == header.kid.as_deref())
    else {
        return false;
    };
    let text = |name: &str| key[name].as_str().expect("text").to_owned();
    let key = DecodingKey::from_rsa_components(&text("n"), &text("e")).expect("a key");
    let settings = service.settings();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[settings.audience()]);
    validation.set_issuer(&["https://accounts.google.com"]);
    let claims = jsonwebtoken::decode::<Value>(token, &key, &validation);
    claims.is_ok_and(|token| token.claims["email"] == settings.push_account.as_str())
}

#[tokio::test]
async fn push_has_both_casings_and_a_valid_token() {
    let (fixture, pushes) = watched(0).await;
    fixture.act("mail.received", json!({})).await;
    let (token, body) = received(&fixture, &pushes).await.remove(0);
    assert!(verifies(&fixture, token.as_deref()));
    let message = &body["message"];
    assert_eq!(message["messageId"], message["message_id"]);
    assert_eq!(message["publishTime"], message["publish_time"]);
    let data = message["data"].as_str().expect("data");
    let data: Value =
        serde_json::from_slice(&STANDARD.decode(data).expect("base64")).expect("JSON");
    assert_eq!(data["emailAddress"], ADMIN);
    let profile = fixture.get("profile").await;
    assert_eq!(
        data["historyId"].to_string(),
        profile["historyId"].as_str().expect("an id")
    );
    fixture.simulator.change_gmail(|settings| {
        settings.url_safe_data = true;
        settings.unpadded_data = true;
        settings.history_id_as_string = true;
    });
    fixture.act("mail.sent", json!({})).await;
    let (_, body) = received(&fixture, &pushes).await.remove(0);
    let data = body["message"]["data"].as_str().expect("data");
    let data = URL_SAFE_NO_PAD.decode(data).expect("base64");
    let data: Value = serde_json::from_slice(&data).expect("JSON");
    assert!(data["historyId"].is_string());
}

#[tokio::test]
async fn rejected_push_is_repeated_with_its_id() {
    let (fixture, pushes) = watched(2).await;
    fixture.act("mail.received", json!({})).await;
    let all = received(&fixture, &pushes).await;
    let ids: Vec<&Value> = all
        .iter()
        .map(|(_, body)| &body["message"]["messageId"])
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]));
    for (token, _) in &all {
        assert!(verifies(&fixture, token.as_deref()));
    }
}

#[tokio::test]
async fn forged_tokens_do_not_verify() {
    let (fixture, pushes) = watched(0).await;
    for effect in [
        "no_signature",
        "wrong_signature",
        "old_signature",
        "unsigned_token",
        "public_key_token",
        "wrong_audience",
        "foreign_account",
        "unknown_key",
    ] {
        let rule = json!({ "target": "delivery", "effect": effect, "count": 1 });
        fixture.control("faults", rule).await;
        fixture.act("mail.received", json!({})).await;
        let all = received(&fixture, &pushes).await;
        assert!(!verifies(&fixture, all[0].0.as_deref()), "{effect}");
    }
    fixture.act("mail.received", json!({})).await;
    let all = received(&fixture, &pushes).await;
    assert!(verifies(&fixture, all[0].0.as_deref()));
    let rule = json!({ "target": "delivery", "effect": "duplicate", "count": 1 });
    fixture.control("faults", rule).await;
    fixture.act("mail.received", json!({})).await;
    let all = received(&fixture, &pushes).await;
    assert_eq!((all.len(), &all[0].1), (2, &all[1].1));
}

#[tokio::test]
async fn labels_rate_and_end_limit_pushes() {
    let (fixture, pushes) = watched(0).await;
    fixture.act("mail.received", json!({ "spam": true })).await;
    assert!(received(&fixture, &pushes).await.is_empty(), "excluded");
    fixture.act("mail.received", json!({ "count": 15 })).await;
    assert_eq!(received(&fixture, &pushes).await.len(), 1);
    fixture
        .simulator
        .change_gmail(|settings| settings.notification_milliseconds = 3_600_000);
    fixture.act("mail.received", json!({})).await;
    assert!(received(&fixture, &pushes).await.is_empty(), "dropped");
    fixture
        .simulator
        .change_gmail(|settings| settings.notification_milliseconds = 0);
    let advance = json!({ "advance_seconds": 7 * 24 * 3_600 });
    fixture.control("clock", advance).await;
    fixture.act("mail.received", json!({})).await;
    assert!(received(&fixture, &pushes).await.is_empty(), "expired");
    let body = json!({ "topicName": gmail(&fixture.simulator).settings().topic_name() });
    let path = "/gmail/v1/users/me/watch";
    fixture.call("POST", path, Some(body)).await;
    fixture.act("mail.received", json!({ "spam": true })).await;
    assert_eq!(received(&fixture, &pushes).await.len(), 1, "replaced");
    let path = "/gmail/v1/users/me/stop";
    let (status, _) = fixture.call("POST", path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    fixture.act("mail.received", json!({})).await;
    assert!(received(&fixture, &pushes).await.is_empty(), "stopped");
}
