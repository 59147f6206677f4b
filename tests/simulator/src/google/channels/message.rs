//! Messages of channels on the wire.
//!
//! The notification is in the headers and the body is empty. The `body` of a [`Delivery`] holds
//! the notification's parts, from which each attempt makes its headers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::faults::Effect;
use crate::google::settings::Settings;
use crate::lock::Shared;
use crate::webhook_sender::{Attempt, Delivery, DeliveryPolicy, Outcome};

pub(super) const USER_AGENT: &str =
    "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google)";
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Delivery policy of channels.
pub(super) struct ChannelPolicy {
    pub(super) settings: Shared<Settings>,
    pub(super) counters: [&'static str; 3],
}

/// A date as HTTP headers have it.
pub(super) fn http_date(seconds: i64) -> String {
    let date = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default();
    date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

impl DeliveryPolicy for ChannelPolicy {
    fn request(&self, client: &Client, attempt: &Attempt<'_>) -> RequestBuilder {
        let notification = &attempt.delivery.body;
        let text = |name: &str| match &notification[name] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let stranger = text("stranger");
        let id = match attempt.effect {
            Some(Effect::Stranger) => stranger.clone(),
            _ => text("id"),
        };
        let resource = match attempt.effect {
            Some(Effect::WrongResource) => stranger.clone(),
            _ => text("resource_id"),
        };
        let token = match attempt.effect {
            Some(Effect::NoSignature) => None,
            Some(Effect::WrongSignature) => Some(
                notification["foreign_token"]
                    .as_str()
                    .map_or(stranger, str::to_owned),
            ),
            // A stranger has some token; that of this channel would be for another id.
            _ => notification["token"].as_str().map(str::to_owned),
        };
        let mut request = client
            .post(&attempt.delivery.url)
            .header("content-type", "application/json; utf-8")
            .header("content-length", 0)
            .header("x-goog-channel-id", id)
            .header("x-goog-channel-expiration", text("expiration"))
            .header("x-goog-resource-state", text("state"))
            .header("x-goog-message-number", text("number"))
            .header("x-goog-resource-id", resource)
            .header("x-goog-resource-uri", text("resource_uri"));
        if let Some(token) = token {
            request = request.header("x-goog-channel-token", token);
        }
        request
    }

    /// The notification is in the headers.
    fn body(&self, _body: &Value) -> Vec<u8> {
        Vec::new()
    }

    fn retry_delays(&self) -> Vec<f64> {
        self.settings.read().retry_seconds.clone()
    }

    fn should_retry(&self, outcome: &Outcome) -> bool {
        matches!(outcome.status, 500 | 502 | 503 | 504)
    }

    fn is_forged(&self, _delivery: &Delivery, effect: Effect) -> bool {
        matches!(
            effect,
            Effect::WrongSignature | Effect::NoSignature | Effect::Stranger
        )
    }

    fn counters(&self) -> [&'static str; 3] {
        self.counters
    }
}
