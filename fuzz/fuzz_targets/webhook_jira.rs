//! Deliveries of Jira's: those of the app's own webhooks, with a token that is not about the
//! body, and those of an administrator's, signed over it.

#![no_main]

use std::sync::{Arc, LazyLock};

use chrono::DateTime;
use fuzz::message::Message;
use fuzz::provider::{CLIENT_SECRETS, NOW, WEBHOOK_SECRETS, connector};
use fuzz::signature;
use fuzz::webhook::{self, Scheme, set, single};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shared::connectors::Connector;

const AUTHORIZATION: &str = "authorization";
const IDENTIFIER: &str = "x-atlassian-webhook-identifier";
const HEAD: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const LEEWAY: i64 = 60;
const HOUR: i64 = 3_600;

fn has_token(headers: &HeaderMap) -> bool {
    single(headers, AUTHORIZATION)
        .and_then(|value| {
            let bearer = value.strip_prefix("Bearer ");
            bearer.or_else(|| value.strip_prefix("JWT "))
        })
        .and_then(|token| signature::opened(&CLIENT_SECRETS, token))
        .is_some_and(|(head, claims)| holds(&head, &claims))
}

/// Whether a signed token says that it holds now.
fn holds(head: &str, claims: &str) -> bool {
    let (Ok(head), Ok(claims)) = (
        serde_json::from_str::<Value>(head),
        serde_json::from_str::<Value>(claims),
    ) else {
        return false;
    };
    let moment = |name: &str| {
        let seconds = claims[name].as_i64()?;
        DateTime::from_timestamp(seconds, 0).map(|_| seconds)
    };
    let begun = |name: &str| {
        claims[name].is_null() || moment(name).is_some_and(|time| time <= NOW + LEEWAY)
    };
    let lasts = moment("exp").is_some_and(|exp| {
        let life = exp - moment("iat").unwrap_or(exp);
        (NOW - LEEWAY..=NOW + LEEWAY + HOUR).contains(&exp) && (0..=HOUR).contains(&life)
    });
    let plain = head["alg"] == "HS256" && head.get("crit").is_none();
    plain && begun("iat") && begun("nbf") && lasts
}

/// With the app's token.
struct ByApp;

impl Scheme for ByApp {
    const SIGNATURE: &'static str = AUTHORIZATION;
    const TAIL: usize = 43;
    const COVERS_BODY: bool = false;

    fn is_genuine(headers: &HeaderMap, _: &[u8]) -> bool {
        has_token(headers)
    }

    /// A head of its own may be one that no library takes.
    fn is_ordinary(message: &Message<'_>) -> bool {
        message.word("head").is_none()
    }

    /// The claims are the message's, if it has any. A token that says nothing that holds is
    /// signed as well, and must be refused.
    fn sign(message: &Message<'_>, headers: &mut HeaderMap, secret: usize) {
        // Written anew: a field that is there twice is read in more than one way.
        let claims = message.json("claims").map(|claims| claims.to_string());
        let lasting = || format!(r#"{{"iat":{NOW},"exp":{}}}"#, NOW + 180);
        let token = signature::token(
            CLIENT_SECRETS[secret],
            message.word("head").unwrap_or(HEAD),
            &claims.unwrap_or_else(lasting),
        );
        set(headers, AUTHORIZATION, &format!("Bearer {token}"));
        Self::identify(headers);
    }

    fn identify(headers: &mut HeaderMap) {
        set(headers, IDENTIFIER, "webhook-1");
    }
}

/// With the connection's own secret, which an administrator was given.
struct ByAdministrator;

impl Scheme for ByAdministrator {
    const SIGNATURE: &'static str = "x-hub-signature";
    const TAIL: usize = 64;
    const COVERS_BODY: bool = true;
    const TO_CONNECTION: bool = true;

    fn is_genuine(headers: &HeaderMap, body: &[u8]) -> bool {
        webhook::is_signed(headers, Self::SIGNATURE, body)
    }

    fn sign(message: &Message<'_>, headers: &mut HeaderMap, secret: usize) {
        let signed = signature::of_body(WEBHOOK_SECRETS[secret], message.body);
        headers.remove(AUTHORIZATION);
        set(headers, Self::SIGNATURE, &signed);
        Self::identify(headers);
    }

    fn identify(headers: &mut HeaderMap) {
        ByApp::identify(headers);
    }
}

static CONNECTOR: LazyLock<Arc<dyn Connector>> =
    LazyLock::new(|| connector("jira", "http://localhost:1"));

fuzz_target!(|data: &[u8]| {
    let administrator = Message::parse(data).word("by") == Some("administrator");
    if administrator {
        webhook::run::<ByAdministrator>(&**CONNECTOR, data);
    } else {
        webhook::run::<ByApp>(&**CONNECTOR, data);
    }
});
