//! Outgoing webhooks: the first request, which brings the secret, and signed deliveries.
//!
//! Source: "Outgoing webhooks" of Zoho Mail's guide, and recorded deliveries. A signature is
//! the HMAC-SHA256 of the raw body with the secret, in base64.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use super::settings::Settings;
use crate::faults::Effect;
use crate::forgery::{forged_id, must_be_rejected};
use crate::lock::{Mutex, Shared};
use crate::webhook_sender::{Attempt, Delivery, DeliveryPolicy, Outcome};

pub(super) const USER_AGENT: &str = "ZohoMail-Webhook";

/// Time in which a delivery must be answered.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Header with a new webhook's secret.
const SECRET: &str = "x-hook-secret";
/// Header with the signature of a body.
const SIGNATURE: &str = "x-hook-signature";

/// An outgoing webhook of a mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    pub(crate) secret: String,
    /// Id of the integration.
    pub(crate) id: u64,
}

/// Signature of a body.
pub(super) fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, body))
}

/// The first request of a webhook, with its secret.
pub(super) fn handshake(
    client: &Client,
    webhook: &Webhook,
    settings: &Settings,
    sample: &Value,
) -> RequestBuilder {
    let body = if settings.handshake_sample {
        sample.to_string()
    } else {
        String::new()
    };
    let mut request = client
        .post(&webhook.url)
        .header("content-type", "application/json;charset=UTF-8")
        .header(SECRET, &webhook.secret);
    if settings.handshake_signed {
        request = request.header(SIGNATURE, signature(&webhook.secret, body.as_bytes()));
    }
    request.body(body)
}

/// Secrets of all webhooks by their URL.
pub(super) type Secrets = Arc<Mutex<HashMap<String, String>>>;

/// Secret of a stranger, who knows the URL only.
const STRANGER: &str = "a stranger's secret";

/// Delivery policy of all webhooks.
pub(super) struct Policy {
    pub(super) settings: Shared<Settings>,
    pub(super) secrets: Secrets,
}

impl DeliveryPolicy for Policy {
    fn request(&self, client: &Client, attempt: &Attempt<'_>) -> RequestBuilder {
        let request = client
            .post(&attempt.delivery.url)
            .header("content-type", "application/json;charset=UTF-8");
        let secret = self.secrets.lock().get(&attempt.delivery.url).cloned();
        let signed = |secret: &str| signature(secret, attempt.body);
        match attempt.effect {
            Some(Effect::NoSignature) => request,
            Some(Effect::WrongSignature | Effect::OldSignature) => {
                request.header(SIGNATURE, signed(STRANGER))
            }
            Some(Effect::Stranger) => request
                .header(SECRET, STRANGER)
                .header(SIGNATURE, signed(STRANGER)),
            _ => request.header(SIGNATURE, signed(&secret.unwrap_or_default())),
        }
    }

    fn retry_delays(&self) -> Vec<f64> {
        self.settings.read().retry_seconds.clone()
    }

    fn should_retry(&self, _outcome: &Outcome) -> bool {
        true
    }

    fn is_forged(&self, _delivery: &Delivery, effect: Effect) -> bool {
        must_be_rejected(effect) || effect == Effect::Stranger
    }

    /// Replaces the ids of the message and of the task.
    fn forged_body(&self, delivery: &Delivery, _effect: Effect) -> Vec<u8> {
        let mut forged = delivery.body.clone();
        for name in ["messageId", "messageIdString", "entityId"] {
            if let Some(id) = forged.get_mut(name) {
                *id = forged_id(id);
            }
        }
        self.body(&forged)
    }

    fn counters(&self) -> [&'static str; 3] {
        [
            "zoho_mail.deliveries",
            "zoho_mail.delivered",
            "zoho_mail.given_up",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_base64_hmac_of_raw_body() {
        let body = br#"{"messageId":1700000000123110000,"zuid":612345678}"#;
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a hook's secret");
        let tag = STANDARD
            .decode(signature("a hook's secret", body))
            .expect("base64");
        assert_eq!(tag.len(), 32);
        assert!(hmac::verify(&key, body, &tag).is_ok());
    }
}
