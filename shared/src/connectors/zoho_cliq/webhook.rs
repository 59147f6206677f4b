//! Deliveries of bot handlers: verification, then normalization.
//!
//! Deliveries arrive at the connection's own URL only. An extension signs the raw body with its
//! private key (RSA, SHA-256); its public key is registered for the connection. A Deluge handler,
//! which cannot sign, sends the connection's own secret. The signature covers no time but that of
//! the body, which must be recent.
//!
//! The answer is an empty object: its `output` would be posted by the bot.
//!
//! Sources: "Webhook-based extensions" and "Bot handlers" at zoho.com/cliq/help.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::wire::{Delivery, WireError};
use super::{AppSettings, SLUG, auth, descriptor, normalize};
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::connectors::headers::single_header;
use crate::connectors::settings::{App, AppReader};
use crate::connectors::{
    AccountChange, Acknowledgement, ConnectionWebhooks, ConnectorError, Directory, KeySource,
    ProviderDescriptor, VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt,
    WebhookRequest, WebhookVerifier,
};
use crate::crypto::{PublicKey, constant_time_eq, sha256};

/// Header with an extension's signature, in base64.
const SIGNATURE: &str = "x-cliq-signature";
/// Header with the connection's secret, which a Deluge handler sends.
const TOKEN: &str = "x-connector-token";

/// Verification at a connection's URL. A delivery has one of the two headers.
pub(super) const CONNECTION_WEBHOOKS: ConnectionWebhooks = ConnectionWebhooks {
    required_headers: &[],
    handshake_header: None,
    accepts_public_key: true,
    is_only_url: true,
};

/// Headers stored with a delivery.
pub(super) const STORED_HEADERS: &[&str] = &["content-type", "user-agent"];

/// Maximum difference between a delivery's time and our clock.
const WINDOW: Duration = Duration::minutes(15);
/// Maximum length of an operation's name.
const MAX_OPERATION: usize = 50;

/// Verifier of deliveries.
pub struct Webhooks {
    descriptor: ProviderDescriptor,
    clock: SharedClock,
}

impl Webhooks {
    /// Reads the settings of verification: none, because all keys belong to connections.
    pub fn from_reader(reader: &mut Reader<'_>, clock: &SharedClock) -> Self {
        let mut reader = AppReader::new(reader);
        Self {
            descriptor: descriptor(AppSettings::limits(&mut reader)),
            clock: clock.clone(),
        }
    }
}

#[async_trait]
impl WebhookVerifier for Webhooks {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    fn is_configured(&self) -> bool {
        false
    }

    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        verify(self.clock.now(), request, keys).await
    }
}

/// Verifies a delivery by its signature, or by the connection's secret.
pub(super) async fn verify(
    now: DateTime<Utc>,
    request: &WebhookRequest<'_>,
    keys: &dyn KeySource,
) -> Result<WebhookReceipt, VerifyError> {
    let WebhookRequest {
        headers,
        body,
        connection,
    } = *request;
    let connection = connection.ok_or(VerifyError::NotConfigured)?;
    // A delivery that claims to be signed is not accepted for anything else.
    if headers.contains_key(SIGNATURE) || !headers.contains_key(TOKEN) {
        let signature = single_header(headers, SIGNATURE)?;
        let signature = STANDARD.decode(signature.trim());
        let signature = signature.map_err(|_| VerifyError::Malformed)?;
        let keys = keys.connection_public_keys(SLUG, connection).await?;
        verify_signature(&keys, body, &signature)?;
    } else {
        let token = single_header(headers, TOKEN)?;
        let secrets = keys.connection_secrets(SLUG, connection).await?;
        verify_token(&secrets, token)?;
    }
    let delivery = Delivery::parse(body);
    let sent = delivery.as_ref().and_then(|delivery| delivery.timestamp);
    if sent.is_some_and(|sent| (now - sent.at()).abs() > WINDOW) {
        return Err(VerifyError::Stale);
    }
    Ok(WebhookReceipt {
        event: delivery.map_or_else(|| "unknown".to_owned(), |delivery| event_name(&delivery)),
        // Deliveries have no id, so equal bodies are one.
        dedupe_id: hex::encode(sha256(body)),
        routes: Vec::new(),
        acknowledgement: Acknowledgement::of("application/json", Bytes::from_static(b"{}")),
        handshake: None,
        stored_body: None,
    })
}

/// Verifies a signature under any of the registered keys.
fn verify_signature(keys: &[PublicKey], body: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    if keys.is_empty() {
        return Err(VerifyError::NotConfigured);
    }
    let is_signed = keys.iter().any(|key| key.verify_rs256(body, signature));
    is_signed.then_some(()).ok_or(VerifyError::Mismatch)
}

/// Verifies that a token is one of the connection's secrets. All of them are compared.
fn verify_token(secrets: &[SecretString], token: &str) -> Result<(), VerifyError> {
    let secrets = secrets.iter().map(ExposeSecret::expose_secret);
    let secrets: Vec<&str> = secrets.filter(|secret| !secret.is_empty()).collect();
    if secrets.is_empty() {
        return Err(VerifyError::NotConfigured);
    }
    let is_equal = secrets.iter().fold(false, |is_equal, secret| {
        constant_time_eq(&sha256(secret.as_bytes()), &sha256(token.as_bytes())) | is_equal
    });
    is_equal.then_some(()).ok_or(VerifyError::Mismatch)
}

/// The name of an event.
///
/// Other texts than names of operations are dropped, so that the set of event names is bounded.
fn event_name(delivery: &Delivery) -> String {
    let is_name = |text: &str| {
        (1..=MAX_OPERATION).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    match delivery.operation().filter(|operation| is_name(operation)) {
        Some(operation) => format!("{}.{operation}", delivery.handler.name()),
        None => delivery.handler.name().to_owned(),
    }
}

/// Normalizes a verified delivery.
pub(super) fn handle(
    delivery: &WebhookDelivery,
    directory: &Directory,
) -> Result<WebhookOutcome, ConnectorError> {
    let parsed = Delivery::parse(&delivery.body).ok_or(WireError::NotAnObject)?;
    let known = auth::organization(&delivery.account);
    if let (Some(known), Some(stated)) = (known, parsed.params.organization())
        && known != stated
    {
        return Ok(WebhookOutcome {
            refused: Some("the delivery is from another organization".to_owned()),
            ..WebhookOutcome::default()
        });
    }
    // The bot may be in channels that the person has just joined or left.
    if matches!(parsed.operation(), Some("added" | "removed")) {
        return Ok(WebhookOutcome {
            changes: vec![AccountChange::StreamsChanged {
                removed_resources: Vec::new(),
            }],
            ..WebhookOutcome::default()
        });
    }
    let signal = normalize::from_delivery(directory, &parsed, delivery.received_at);
    Ok(WebhookOutcome::from_signals(signal.map(Vec::from_iter)))
}

#[cfg(test)]
mod tests;
