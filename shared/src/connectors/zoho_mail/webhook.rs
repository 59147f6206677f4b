//! Webhooks: the outgoing webhook that a person sets up in the mailbox.
//!
//! Zoho makes the secret and sends it in its first request, which is accepted only while the
//! connection is armed. Later requests have the HMAC-SHA-256 of the raw body under that secret, in
//! base64. Whether the first request is signed too is not documented: if it is, it must verify.
//! Each delivery has the whole text of a mail, which is dropped before the delivery is stored.
//!
//! Source: "Outgoing Webhooks" at zoho.com/mail/help/dev-platform, and other clients that cite it.

use async_trait::async_trait;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;

use super::settings::AppSettings;
use super::wire::{Delivery, Mail, WireError, without_content};
use super::{SLUG, descriptor, normalize};
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::connectors::headers::single_header;
use crate::connectors::settings::{App, AppReader};
use crate::connectors::wire::Json;
use crate::connectors::zoho::zuid;
use crate::connectors::{
    Acknowledgement, ConnectionWebhooks, Handshake, KeySource, ProviderDescriptor, VerifyError,
    WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest, WebhookVerifier,
};
use crate::crypto::{constant_time_eq, sha256, verify_hmac_sha256};
use crate::model::{ConnectionId, SignalKind};

/// Header with the secret of later deliveries.
const SECRET: &str = "x-hook-secret";
/// Header with the signature of a delivery.
const SIGNATURE: &str = "x-hook-signature";

/// Deliveries to a connection's URL are signed with a secret that Zoho sends once.
pub(super) const CONNECTION_WEBHOOKS: ConnectionWebhooks = ConnectionWebhooks {
    required_headers: &[SIGNATURE],
    handshake_header: Some(SECRET),
    accepts_public_key: false,
    is_only_url: true,
};

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Verifier of deliveries. It has no secret of its own.
pub struct Webhooks {
    descriptor: ProviderDescriptor,
}

impl Webhooks {
    /// Reads the settings of verification.
    pub fn from_reader(reader: &mut Reader<'_>, _: &SharedClock) -> Self {
        Self {
            descriptor: descriptor(AppSettings::limits(&mut AppReader::new(reader))),
        }
    }
}

#[async_trait]
impl WebhookVerifier for Webhooks {
    fn descriptor(&self) -> &ProviderDescriptor {
        &self.descriptor
    }

    /// There are no deliveries to the app's URL.
    fn is_configured(&self) -> bool {
        false
    }

    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        verify(request, keys).await
    }
}

/// Verifies a delivery or a handshake.
pub(super) async fn verify(
    request: &WebhookRequest<'_>,
    keys: &dyn KeySource,
) -> Result<WebhookReceipt, VerifyError> {
    let WebhookRequest { headers, body, .. } = *request;
    let connection = request.connection.ok_or(VerifyError::NotConfigured)?;
    let secrets = keys.connection_secrets(SLUG, connection).await?;
    let signature = optional_header(headers, SIGNATURE)?;
    if let Some(secret) = optional_header(headers, SECRET)? {
        let handshake = handshake(&secrets, secret.into(), signature, body)?;
        return Ok(receipt("handshake", String::new(), Some(handshake), None));
    }
    let signature = signature.ok_or(VerifyError::MissingHeader(SIGNATURE))?;
    if secrets.is_empty() {
        return Err(VerifyError::NotConfigured);
    }
    verify_signature(&secrets, signature, body)?;
    let (event, id, stored) = describe(body);
    let id = id.unwrap_or_else(|| hex::encode(sha256(body)));
    Ok(receipt(
        event,
        dedupe_id(connection, &id),
        None,
        Some(stored),
    ))
}

/// Returns the handshake of a request with a secret.
///
/// Its body is a sample and no delivery. The current secret needs not be stored again. Another one
/// is stored only if the connection is armed, and ends the current one.
fn handshake(
    secrets: &[SecretString],
    secret: SecretString,
    signature: Option<&str>,
    body: &Bytes,
) -> Result<Handshake, VerifyError> {
    let sent = secret.expose_secret().as_bytes();
    if sent.is_empty() {
        return Err(VerifyError::Malformed);
    }
    if let Some(signature) = signature {
        verify_signature(std::slice::from_ref(&secret), signature, body)?;
    }
    let current = secrets.first();
    let is_current =
        current.is_some_and(|known| constant_time_eq(known.expose_secret().as_bytes(), sent));
    Ok(Handshake {
        secret: (!is_current).then_some(secret),
    })
}

fn verify_signature(
    secrets: &[SecretString],
    signature: &str,
    body: &Bytes,
) -> Result<(), VerifyError> {
    let claimed = BASE64.decode(signature.trim());
    let claimed = claimed.map_err(|_| VerifyError::Malformed)?;
    verify_hmac_sha256(secrets, &[body], &claimed)
        .then_some(())
        .ok_or(VerifyError::Mismatch)
}

fn optional_header<'h>(
    headers: &'h HeaderMap,
    name: &'static str,
) -> Result<Option<&'h str>, VerifyError> {
    if headers.contains_key(name) {
        single_header(headers, name).map(Some)
    } else {
        Ok(None)
    }
}

fn receipt(
    event: &str,
    dedupe_id: String,
    handshake: Option<Handshake>,
    stored_body: Option<Bytes>,
) -> WebhookReceipt {
    WebhookReceipt {
        event: event.to_owned(),
        dedupe_id,
        routes: Vec::new(),
        acknowledgement: Acknowledgement::default(),
        handshake,
        stored_body,
    }
}

/// The id of a delivery, which two mailboxes may share.
fn dedupe_id(connection: ConnectionId, id: &str) -> String {
    format!("{connection}:{id}")
}

/// The event's name, the mail's id, and the body to store: without the text of the mail.
fn describe(body: &Bytes) -> (&'static str, Option<String>, Bytes) {
    let json = Json::of(body);
    let Ok(raw) = json.read::<Box<RawValue>>() else {
        return ("unknown", None, Bytes::new());
    };
    let delivery = Delivery::parse(&raw).unwrap_or_default();
    let mail = Mail::parse(&raw).unwrap_or_default();
    let stored = without_content(raw).map_or_else(
        |_| Bytes::new(),
        |raw| Bytes::from(String::from(Box::<str>::from(raw))),
    );
    if delivery.entity.is_some() {
        ("entity.changed", None, stored)
    } else if mail.is_mail() {
        let id = mail.id().ok().map(|id| format!("mail:{id}"));
        ("mail.received", id, stored)
    } else {
        ("unknown", None, stored)
    }
}

/// Normalizes a delivery. Tasks and posts of streams have no kind.
pub(super) fn handle(delivery: &WebhookDelivery) -> WebhookOutcome {
    let json = Json::of(&delivery.body);
    let raw = json.read::<Box<RawValue>>().ok();
    let raw = raw.and_then(|raw| without_content(raw).ok());
    let read = raw.as_deref().ok_or(WireError::NotAnObject);
    let read = read.and_then(|raw| Ok((Delivery::parse(raw)?, Mail::parse(raw)?, raw)));
    let (stated, mail, raw) = match read {
        Ok(read) => read,
        Err(error) => return WebhookOutcome::from_signals(Err(error)),
    };
    if stated.entity.is_some() || !mail.is_mail() {
        return WebhookOutcome::default();
    }
    let account = &delivery.account;
    if stated.zuid.is_none() || stated.zuid.as_deref() != zuid(account) {
        return WebhookOutcome {
            refused: Some("the delivery is of another person's mailbox".to_owned()),
            ..WebhookOutcome::default()
        };
    }
    let signal = normalize::mail(account, SignalKind::EmailReceived, &mail, raw);
    WebhookOutcome::from_signals(signal.map(|signal| vec![signal]))
}

#[cfg(test)]
mod tests;
