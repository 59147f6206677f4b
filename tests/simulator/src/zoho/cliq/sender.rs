//! Deliveries of extensions: a signed body, or a Deluge script's request with a token.
//!
//! Nothing is documented about repetitions, so by default there are none.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::extensions::{Extension, Extensions};
use super::settings::Settings;
use crate::faults::Effect;
use crate::forgery::{forge, must_be_rejected};
use crate::lock::Shared;
use crate::webhook_sender::{Attempt, Delivery, DeliveryPolicy, Outcome};

pub(super) const USER_AGENT: &str = "ZohoCliq";

/// Timeout of a delivery's response.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Age of a delivery with a stale time.
const STALE_MILLISECONDS: i64 = 24 * 3_600 * 1_000;

/// Cliq's delivery policy.
pub(super) struct Sender {
    pub(super) extensions: Arc<Extensions>,
    pub(super) settings: Shared<Settings>,
}

impl Sender {
    /// The extension of a delivery, whose id begins with the extension's.
    fn extension(&self, delivery: &Delivery) -> Option<Arc<Extension>> {
        let (extension, _) = delivery.id.split_once('.')?;
        self.extensions.get(extension)
    }

    /// Value of the signature's header; `None` for a request without one.
    fn signature(&self, extension: &Extension, attempt: &Attempt<'_>) -> Option<String> {
        let body = attempt.body;
        match attempt.effect {
            Some(Effect::NoSignature) => None,
            Some(Effect::WrongSignature) => {
                let other = [body.as_ref(), b" ".as_slice()].concat();
                Some(extension.signature(&other))
            }
            Some(Effect::ForeignKey) => {
                Some(self.extensions.foreign_signature(&extension.id, body))
            }
            Some(Effect::Reserialized) => {
                let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
                Some(extension.signature(parsed.to_string().as_bytes()))
            }
            _ => Some(extension.signature(body)),
        }
    }

    /// Token of a Deluge script; `None` for a request without one.
    fn token(&self, extension: &Extension, token: &str, effect: Option<Effect>) -> Option<String> {
        match effect {
            Some(Effect::NoSignature) => None,
            Some(Effect::WrongSignature) => Some("wrong-token".to_owned()),
            Some(Effect::ForeignKey) => {
                let other = self.extensions.other(&extension.id);
                let token = other.and_then(|other| other.token.clone());
                Some(token.unwrap_or_else(|| "foreign-token".to_owned()))
            }
            _ => Some(token.to_owned()),
        }
    }
}

impl DeliveryPolicy for Sender {
    fn request(&self, client: &Client, attempt: &Attempt<'_>) -> RequestBuilder {
        let request = client.post(&attempt.delivery.url);
        let Some(extension) = self.extension(attempt.delivery) else {
            return request;
        };
        if let Some(token) = &extension.token {
            let content_type = if self.settings.read().deluge_form {
                "application/x-www-form-urlencoded"
            } else {
                "application/json"
            };
            let request = request.header("content-type", content_type);
            return match self.token(&extension, token, attempt.effect) {
                Some(token) => request.header("x-connector-token", token),
                None => request,
            };
        }
        let request = request.header("content-type", "application/json");
        match self.signature(&extension, attempt) {
            Some(signature) => request.header("x-cliq-signature", signature),
            None => request,
        }
    }

    fn retry_delays(&self) -> Vec<f64> {
        self.settings.read().retry_seconds.clone()
    }

    fn should_retry(&self, _outcome: &Outcome) -> bool {
        true
    }

    /// A token does not sign the body, so only an invalid token makes a forgery.
    fn is_forged(&self, delivery: &Delivery, effect: Effect) -> bool {
        let extension = self.extension(delivery);
        let is_script = extension.is_some_and(|extension| extension.token.is_some());
        match effect {
            Effect::ForeignKey => true,
            Effect::OldSignature | Effect::Reserialized | Effect::OtherOrganization => !is_script,
            _ => must_be_rejected(effect),
        }
    }

    fn forged_body(&self, delivery: &Delivery, effect: Effect) -> Vec<u8> {
        let mut forged = forge(&delivery.body);
        match effect {
            Effect::OldSignature => {
                let time = forged["timestamp"].as_i64().unwrap_or_default();
                forged["timestamp"] = json!(time - STALE_MILLISECONDS);
            }
            Effect::OtherOrganization => {
                forged["params"]["access"]["organization"]["id"] = json!("1");
                forged["params"]["user"]["organization_id"] = json!("1");
            }
            Effect::Reserialized => {
                return serde_json::to_vec_pretty(&forged).unwrap_or_default();
            }
            _ => {}
        }
        self.body(&forged)
    }

    /// Compact JSON. A form has the JSON of each field that is no text.
    fn body(&self, body: &Value) -> Vec<u8> {
        let is_script = body.get("params").is_none();
        match body.as_object() {
            Some(fields) if is_script && self.settings.read().deluge_form => {
                let mut form = Serializer::new(String::new());
                for (name, value) in fields {
                    let text = value.as_str().map(str::to_owned);
                    form.append_pair(name, &text.unwrap_or_else(|| value.to_string()));
                }
                form.finish().into_bytes()
            }
            _ => body.to_string().into_bytes(),
        }
    }

    fn counters(&self) -> [&'static str; 3] {
        [
            "zoho_cliq.calls",
            "zoho_cliq.delivered",
            "zoho_cliq.given_up",
        ]
    }
}
