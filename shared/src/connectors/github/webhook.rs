//! Webhooks: verification and handling.
//!
//! `X-Hub-Signature-256` is the lower-case hex HMAC-SHA-256 of the raw body
//! (<https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>). It has no
//! timestamp, so repeated deliveries are detected by the delivery's GUID, which a redelivery keeps.
//! The older SHA-1 header is ignored.

mod lifecycle;
mod shape;

use std::borrow::Cow;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use secrecy::SecretString;
use serde::Deserialize;

use super::descriptor;
use super::normalize::{self, NormalizeContext};
use super::settings::{AppSettings, webhook_secrets};
use super::wire::{Payload, WireError};
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::connectors::headers::{identifier_header, signature_hex, single_header};
use crate::connectors::settings::{App, AppReader};
use crate::connectors::{
    Acknowledgement, ConnectorError, KeySource, ProviderDescriptor, VerifyError, WebhookDelivery,
    WebhookOutcome, WebhookReceipt, WebhookRequest, WebhookVerifier,
};
use crate::crypto::verify_hmac_sha256_hex;

const SIGNATURE: &str = "x-hub-signature-256";
const DELIVERY: &str = "x-github-delivery";
const EVENT: &str = "x-github-event";
const CONTENT_TYPE: &str = "content-type";

/// Headers that every genuine delivery has.
pub(super) const REQUIRED_HEADERS: &[&str] = &[EVENT, DELIVERY, SIGNATURE];

/// Headers that are stored with a delivery.
pub(super) const STORED_HEADERS: &[&str] = &[
    EVENT,
    DELIVERY,
    "x-github-hook-id",
    "x-github-hook-installation-target-type",
    "x-github-hook-installation-target-id",
    CONTENT_TYPE,
    "user-agent",
];

const SIGNATURE_PREFIX: &str = "sha256=";
/// Field of a form-encoded body that contains the JSON.
const FORM_FIELD: &str = "payload";

/// Events whose action the sender chooses freely.
const CUSTOM_ACTION_EVENTS: &[&str] = &["repository_dispatch"];

/// Webhook verifier with the app's secrets.
pub struct Webhooks {
    descriptor: ProviderDescriptor,
    secrets: Vec<SecretString>,
}

impl Webhooks {
    /// Reads the settings for verification.
    pub fn from_reader(reader: &mut Reader<'_>, _: &SharedClock) -> Self {
        let mut reader = AppReader::new(reader);
        Self {
            descriptor: descriptor(AppSettings::limits(&mut reader)),
            secrets: webhook_secrets(&mut reader),
        }
    }
}

#[async_trait]
impl WebhookVerifier for Webhooks {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn is_configured(&self) -> bool {
        !self.secrets.is_empty()
    }

    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        _: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        verify(&self.secrets, request.headers, request.body)
    }
}

/// Verifies a delivery with the active secrets.
pub(super) fn verify(
    secrets: &[SecretString],
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<WebhookReceipt, VerifyError> {
    if secrets.is_empty() {
        return Err(VerifyError::NotConfigured);
    }
    let signature = single_header(headers, SIGNATURE)?;
    let event = identifier_header(headers, EVENT)?;
    let delivery = identifier_header(headers, DELIVERY)?;
    let hex = signature_hex(signature, SIGNATURE_PREFIX)?;
    if !verify_hmac_sha256_hex(secrets, &[body], hex) {
        return Err(VerifyError::Mismatch);
    }
    let metadata = Metadata::of(
        headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok()),
        body,
    );
    Ok(WebhookReceipt {
        event: match metadata.action {
            Some(action) if !CUSTOM_ACTION_EVENTS.contains(&event) => format!("{event}.{action}"),
            _ => event.to_owned(),
        },
        dedupe_id: delivery.to_owned(),
        routes: metadata.installation.iter().map(u64::to_string).collect(),
        acknowledgement: Acknowledgement::default(),
        handshake: None,
        stored_body: None,
    })
}

/// Handles a verified delivery.
pub(super) fn handle(delivery: &WebhookDelivery) -> Result<WebhookOutcome, ConnectorError> {
    let event = delivery.header(EVENT).ok_or(WireError::Missing(EVENT))?;
    let text = json_text(delivery.header(CONTENT_TYPE), &delivery.body)
        .ok_or(WireError::Missing(FORM_FIELD))?;
    let payload = Payload::parse(&text)?;
    if !shape::matches_event(event, &payload) {
        return Ok(WebhookOutcome {
            refused: Some("the body does not match the event in the header".to_owned()),
            ..WebhookOutcome::default()
        });
    }
    let context = NormalizeContext {
        payload: &payload,
        received_at: delivery.received_at,
    };
    Ok(WebhookOutcome {
        signals: normalize::event(event, &context)?.into_iter().collect(),
        changes: lifecycle::changes(event, &payload)?,
        ..WebhookOutcome::default()
    })
}

/// The part of a body that is needed to store the delivery.
///
/// A verified delivery with an unreadable body is stored under its header's event, without an
/// account.
#[derive(Default)]
struct Metadata {
    action: Option<String>,
    installation: Option<u64>,
}

impl Metadata {
    fn of(content_type: Option<&str>, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Installation {
            id: u64,
        }
        let Some(text) = json_text(content_type, body) else {
            return Self::default();
        };
        let Ok(payload) = Payload::parse(&text) else {
            return Self::default();
        };
        let installation = payload
            .optional::<Installation>("installation")
            .ok()
            .flatten();
        Self {
            action: payload.action().filter(|action| is_action(action)),
            installation: installation.map(|installation| installation.id),
        }
    }
}

/// Returns whether a text has the form of GitHub's actions.
///
/// Other texts would make the set of event names unbounded.
fn is_action(action: &str) -> bool {
    (1..=50).contains(&action.len())
        && action
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Returns the JSON of a body: the body, or the `payload` field of a form.
fn json_text<'b>(content_type: Option<&str>, body: &'b [u8]) -> Option<Cow<'b, str>> {
    let form = content_type.is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !form {
        return Some(String::from_utf8_lossy(body));
    }
    url::form_urlencoded::parse(body)
        .find(|(name, _)| name == FORM_FIELD)
        .map(|(_, value)| Cow::Owned(value.into_owned()))
}

#[cfg(test)]
mod tests;
