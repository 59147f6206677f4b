//! Webhooks: proof first, then meaning.
//!
//! The proof is `X-Hub-Signature-256`: the lowercase hex HMAC-SHA-256 of the raw body
//! (<https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>). It has
//! no time, so a delivery's GUID, the same on redelivery, is what tells repeats. The older
//! SHA-1 header proves nothing here.

mod lifecycle;
mod shape;

use std::borrow::Cow;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use secrecy::SecretString;
use serde::Deserialize;

use super::descriptor;
use super::normalize::{self, Scene};
use super::settings::{GitHubSettings, WEBHOOK_SECRET};
use super::wire::{Payload, WireError};
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::connectors::support::{identifier, signature_hex, single};
use crate::connectors::{
    Acknowledgement, ConnectorError, KeySource, ProviderDescriptor, VerifyError, WebhookDelivery,
    WebhookOutcome, WebhookReceipt, WebhookRequest, WebhookVerifier,
};
use crate::crypto::verify_hmac_sha256_hex;

const SIGNATURE: &str = "x-hub-signature-256";
const DELIVERY: &str = "x-github-delivery";
const EVENT: &str = "x-github-event";
const CONTENT_TYPE: &str = "content-type";

/// The headers without which nothing is genuine.
pub(super) const REQUIRED_HEADERS: &[&str] = &[EVENT, DELIVERY, SIGNATURE];

/// The headers that are kept with a delivery.
pub(super) const KEPT_HEADERS: &[&str] = &[
    EVENT,
    DELIVERY,
    "x-github-hook-id",
    "x-github-hook-installation-target-type",
    "x-github-hook-installation-target-id",
    CONTENT_TYPE,
    "user-agent",
];

const SIGNATURE_PREFIX: &str = "sha256=";
/// The field of a form-encoded body that holds the JSON.
const FORM_FIELD: &str = "payload";

/// Events whose action is whatever the sender of the event made up.
const FREE_ACTIONS: &[&str] = &["repository_dispatch"];

/// Verifies deliveries, by the app's webhook secrets.
pub struct Webhooks {
    descriptor: ProviderDescriptor,
    secrets: Vec<SecretString>,
}

impl Webhooks {
    /// Reads the settings that verification needs.
    pub fn from_reader(reader: &mut Reader<'_>, _: &SharedClock) -> Self {
        Self {
            descriptor: descriptor(GitHubSettings::limits(reader)),
            secrets: reader.one_or_two_secrets(WEBHOOK_SECRET),
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

/// Verifies that a delivery is genuine, under any of the active secrets.
pub(super) fn verify(
    secrets: &[SecretString],
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<WebhookReceipt, VerifyError> {
    if secrets.is_empty() {
        return Err(VerifyError::NotConfigured);
    }
    let signature = single(headers, SIGNATURE)?;
    let event = identifier(headers, EVENT)?;
    let delivery = identifier(headers, DELIVERY)?;
    let hex = signature_hex(signature, SIGNATURE_PREFIX)?;
    if !verify_hmac_sha256_hex(secrets, &[body], hex) {
        return Err(VerifyError::Mismatch);
    }
    let glimpse = Glimpse::of(
        headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()),
        body,
    );
    Ok(WebhookReceipt {
        event: match glimpse.action {
            Some(action) if !FREE_ACTIONS.contains(&event) => format!("{event}.{action}"),
            _ => event.to_owned(),
        },
        dedupe_id: delivery.to_owned(),
        routes: glimpse.installation.iter().map(u64::to_string).collect(),
        acknowledgement: Acknowledgement::default(),
        handshake: None,
        stored_body: None,
    })
}

/// What a genuine delivery says.
pub(super) fn handle(delivery: &WebhookDelivery) -> Result<WebhookOutcome, ConnectorError> {
    let event = delivery.header(EVENT).ok_or(WireError::Missing(EVENT))?;
    let text = json_text(delivery.header(CONTENT_TYPE), &delivery.body)
        .ok_or(WireError::Missing(FORM_FIELD))?;
    let payload = Payload::parse(&text)?;
    if !shape::fits(event, &payload) {
        return Ok(WebhookOutcome {
            refused: Some("the body is not of the event that the header names".to_owned()),
            ..WebhookOutcome::default()
        });
    }
    let scene = Scene {
        payload: &payload,
        received_at: delivery.received_at,
    };
    Ok(WebhookOutcome {
        signals: normalize::event(event, &scene)?.into_iter().collect(),
        changes: lifecycle::changes(event, &payload)?,
        ..WebhookOutcome::default()
    })
}

/// What filing a delivery needs to know of its body. A genuine body that cannot be read
/// still is a genuine delivery: it is filed under its header's event, without an account.
#[derive(Default)]
struct Glimpse {
    action: Option<String>,
    installation: Option<u64>,
}

impl Glimpse {
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
            action: payload.action().filter(|action| is_word(action)),
            installation: installation.map(|found| found.id),
        }
    }
}

/// An action as GitHub writes them; others would make event names without end.
fn is_word(action: &str) -> bool {
    (1..=50).contains(&action.len())
        && action
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The JSON of a body: itself, or a form's `payload`.
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
