//! Pushes of Cloud Pub/Sub: a wrapped message and a signed identity token.
//!
//! Source: "Push subscriptions" and "Authentication for push subscriptions" of its guides. A
//! push that is not acknowledged within ten seconds is repeated with the same message id.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::settings::Settings;
use crate::clock::Clock;
use crate::faults::Effect;
use crate::forgery::must_be_rejected;
use crate::google::Google;
use crate::google::keys::Keys;
use crate::lock::Shared;
use crate::webhook_sender::{Attempt, Delivery, DeliveryPolicy, Outcome};

pub(super) const USER_AGENT: &str = "CloudPubSub-Google";

/// Time in which a push must be acknowledged.
pub(super) const ACK_DEADLINE: Duration = Duration::from_secs(10);

/// Lifetime of a push's token.
const TOKEN_SECONDS: i64 = 3_600;

/// Body of a push that reports the current history id of a mailbox.
///
/// `published` is an RFC 3339 time with milliseconds.
pub(super) fn body(
    settings: &Settings,
    address: &str,
    history_id: u64,
    message_id: &str,
    published: &str,
) -> Value {
    let history_id = if settings.history_id_as_string {
        json!(history_id.to_string())
    } else {
        json!(history_id)
    };
    let data = json!({ "emailAddress": address, "historyId": history_id }).to_string();
    let engine = match (settings.url_safe_data, settings.unpadded_data) {
        (false, false) => STANDARD,
        (false, true) => STANDARD_NO_PAD,
        (true, false) => URL_SAFE,
        (true, true) => URL_SAFE_NO_PAD,
    };
    json!({
        "message": {
            "data": engine.encode(data), "messageId": message_id, "message_id": message_id,
            "publishTime": published, "publish_time": published,
        },
        "subscription": settings.subscription_name(),
    })
}

/// Delivery policy of the push subscription.
pub(super) struct Pusher {
    pub(super) google: Arc<Google>,
    pub(super) settings: Shared<Settings>,
    /// Keys of a stranger, which are not published.
    foreign_keys: OnceLock<Option<Keys>>,
}

impl Pusher {
    pub(super) fn new(google: Arc<Google>, settings: Shared<Settings>) -> Self {
        Self {
            google,
            settings,
            foreign_keys: OnceLock::new(),
        }
    }

    /// Token of a push, with the fault's mistake; `None` for a push without one.
    fn token(&self, effect: Option<Effect>) -> Option<String> {
        let settings = self.settings.read();
        // The receiver compares the times with the system clock, not with the simulated one.
        let mut issued = Clock::system_seconds();
        let (mut audience, mut email) = (settings.audience(), settings.push_account.as_str());
        match effect {
            Some(Effect::NoSignature) => return None,
            Some(Effect::OldSignature) => issued -= 2 * TOKEN_SECONDS,
            Some(Effect::WrongAudience) => audience = "https://other.example/push",
            Some(Effect::ForeignAccount) => email = "push@other.iam.gserviceaccount.com",
            _ => {}
        }
        let claims = json!({
            "iss": "https://accounts.google.com", "aud": audience, "email": email,
            "email_verified": true, "azp": "113774264463038321964",
            "sub": "113774264463038321964", "iat": issued, "exp": issued + TOKEN_SECONDS,
        });
        let keys = &self.google.keys;
        Some(match effect {
            Some(Effect::UnsignedToken) => unsigned(&claims),
            Some(Effect::PublicKeyToken) => signed_with_public_key(keys, &claims),
            Some(Effect::UnknownKey) => self.foreign_keys()?.sign(&claims),
            Some(Effect::WrongSignature) => {
                let mut other = claims.clone();
                other["azp"] = json!("0");
                with_signature_of(&keys.sign(&claims), &keys.sign(&other))
            }
            _ => keys.sign(&claims),
        })
    }

    fn foreign_keys(&self) -> Option<&Keys> {
        let keys = self.foreign_keys.get_or_init(|| Keys::generate().ok());
        keys.as_ref()
    }
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// A token with the algorithm `none`.
fn unsigned(claims: &Value) -> String {
    let header = json!({ "alg": "none", "typ": "JWT" });
    format!("{}.{}.", encoded(&header), encoded(claims))
}

/// A token with an HMAC whose secret is the published certificate.
fn signed_with_public_key(keys: &Keys, claims: &Value) -> String {
    let certificates = keys.certificates();
    let id = keys.ids().swap_remove(0);
    let secret = certificates[&id].as_str().unwrap_or_default();
    let header = json!({ "alg": "HS256", "kid": id, "typ": "JWT" });
    let text = format!("{}.{}", encoded(&header), encoded(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Header and claims of a token with the signature of another one.
fn with_signature_of(token: &str, other: &str) -> String {
    let (text, _) = token.rsplit_once('.').unwrap_or_default();
    let (_, signature) = other.rsplit_once('.').unwrap_or_default();
    format!("{text}.{signature}")
}

impl DeliveryPolicy for Pusher {
    fn request(&self, client: &Client, attempt: &Attempt<'_>) -> RequestBuilder {
        let request = client
            .post(&attempt.delivery.url)
            .header("content-type", "application/json")
            .header("from", "noreply@google.com");
        match self.token(attempt.effect) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn retry_delays(&self) -> Vec<f64> {
        self.settings.read().retry_seconds.clone()
    }

    fn is_accepted(&self, outcome: &Outcome) -> bool {
        matches!(outcome.status, 102 | 200 | 201 | 202 | 204)
    }

    fn should_retry(&self, _outcome: &Outcome) -> bool {
        true
    }

    /// A push reports no facts, so a forged one differs from the original by its token only.
    fn is_forged(&self, _delivery: &Delivery, effect: Effect) -> bool {
        must_be_rejected(effect)
            || matches!(
                effect,
                Effect::UnsignedToken
                    | Effect::PublicKeyToken
                    | Effect::WrongAudience
                    | Effect::ForeignAccount
                    | Effect::UnknownKey
            )
    }

    fn counters(&self) -> [&'static str; 3] {
        ["gmail.pushes", "gmail.acknowledged", "gmail.given_up"]
    }
}
