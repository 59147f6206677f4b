//! Webhooks: verification, then normalization.
//!
//! Deliveries of subscriptions arrive at the app's URL with a JWT that is signed with the app's
//! client secret. The JWT does not cover the body, so it proves only that Jira is the sender. The
//! route consists of the site and the subscription's id in the body, and only a connection with
//! that subscription at that site receives the delivery.
//!
//! Deliveries of webhooks that an administrator set up arrive at a connection's URL, with a
//! signature of the body under the connection's webhook secret. Only that connection receives
//! them, independent of the body.

use std::collections::HashMap;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::normalize::{self, NormalizeContext};
use super::settings::{AppSettings, webhook_secrets};
use super::subscriptions::route;
use super::wire::Payload;
use super::{SLUG, descriptor};
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::connectors::headers::{identifier_header, signature_hex, single_header};
use crate::connectors::settings::{App, AppReader};
use crate::connectors::wire::Json;
use crate::connectors::{
    Acknowledgement, ConnectionWebhooks, ConnectorError, Directory, KeySource, ProviderDescriptor,
    VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest, WebhookVerifier,
};
use crate::crypto::{sha256, verify_hmac_sha256_hex};

const AUTHORIZATION: &str = "authorization";
const SIGNATURE: &str = "x-hub-signature";
const IDENTIFIER: &str = "x-atlassian-webhook-identifier";

/// Headers that verification requires at the app's URL.
pub(super) const REQUIRED_HEADERS: &[&str] = &[IDENTIFIER, AUTHORIZATION];

/// Deliveries to a connection's URL are signed with a generated secret.
pub(super) const CONNECTION_WEBHOOKS: ConnectionWebhooks = ConnectionWebhooks {
    required_headers: &[IDENTIFIER, SIGNATURE],
    handshake_header: None,
    accepts_public_key: false,
    is_only_url: false,
};

/// Headers stored with a delivery.
pub(super) const STORED_HEADERS: &[&str] = &[
    IDENTIFIER,
    "x-atlassian-webhook-retry",
    "x-atlassian-webhook-flow",
    "content-type",
    "user-agent",
];

/// Maximum difference between Atlassian's clock and ours.
const LEEWAY: Duration = Duration::seconds(60);
/// Maximum lifetime of a token; Jira's are valid for minutes.
const MAX_TOKEN_TTL: Duration = Duration::hours(1);
/// Maximum length of an event's name.
const MAX_EVENT_NAME: usize = 60;
/// Maximum length of a site's origin; a host name has up to 253 characters (RFC 1035).
const MAX_ORIGIN_LENGTH: usize = 300;
/// Maximum routes of a delivery; a person may have five subscriptions at a site.
const MAX_ROUTES: usize = 1_000;

/// Verifier of deliveries, with the app's client secrets or a connection's webhook secrets.
pub struct Webhooks {
    descriptor: ProviderDescriptor,
    client_secrets: Vec<SecretString>,
    clock: SharedClock,
}

impl Webhooks {
    /// Reads the settings of verification.
    pub fn from_reader(reader: &mut Reader<'_>, clock: &SharedClock) -> Self {
        let mut reader = AppReader::new(reader);
        Self {
            descriptor: descriptor(AppSettings::limits(&mut reader)),
            client_secrets: webhook_secrets(&mut reader),
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
        !self.client_secrets.is_empty()
    }

    async fn verify(
        &self,
        request: &WebhookRequest<'_>,
        keys: &dyn KeySource,
    ) -> Result<WebhookReceipt, VerifyError> {
        verify(&self.client_secrets, self.clock.now(), request, keys).await
    }
}

/// Verifies a delivery under any of the active secrets.
pub(super) async fn verify(
    client_secrets: &[SecretString],
    now: DateTime<Utc>,
    request: &WebhookRequest<'_>,
    keys: &dyn KeySource,
) -> Result<WebhookReceipt, VerifyError> {
    let WebhookRequest { headers, body, .. } = *request;
    identifier_header(headers, IDENTIFIER)?;
    if let Some(connection) = request.connection {
        let signature = single_header(headers, SIGNATURE)?;
        let secrets = keys.connection_secrets(SLUG, connection).await?;
        verify_signature(&secrets, signature, body)?;
    } else {
        verify_bearer(client_secrets, now, single_header(headers, AUTHORIZATION)?)?;
    }
    let json = Json::of(body.as_ref());
    let payload = Payload::parse(&json).unwrap_or_default();
    let site = payload.object_url().as_deref().and_then(origin);
    let mut routes: Vec<String> = match (&site, request.connection) {
        (Some(site), None) => payload
            .matched
            .iter()
            .flatten()
            .take(MAX_ROUTES)
            .map(|id| route(site, &id.to_string()))
            .collect(),
        _ => Vec::new(),
    };
    routes.sort_unstable();
    routes.dedup();
    let sender = match request.connection {
        Some(connection) => connection.to_string(),
        None => site.unwrap_or_default(),
    };
    Ok(WebhookReceipt {
        event: payload
            .event
            .as_deref()
            .unwrap_or("unknown")
            .chars()
            .take(MAX_EVENT_NAME)
            .collect(),
        // The body's digest, because the identifier is not signed, and deliveries within a second
        // have equal tokens. A retry has the same body, whose times are in milliseconds.
        dedupe_id: format!("{sender}:{}", hex::encode(sha256(body))),
        routes,
        acknowledgement: Acknowledgement::default(),
        handshake: None,
        stored_body: None,
    })
}

/// Claims of the token that are checked; others are undocumented.
#[derive(Deserialize)]
struct Claims {
    exp: Option<Value>,
    iat: Option<Value>,
    nbf: Option<Value>,
}

impl Claims {
    /// Checks that the token is valid at `now`, with a lifetime up to [`MAX_TOKEN_TTL`].
    fn check(&self, now: DateTime<Utc>) -> Result<(), VerifyError> {
        // A token without expiry could be replayed without limit.
        let expires = numeric_date(self.exp.as_ref())?.ok_or(VerifyError::Malformed)?;
        let issued = numeric_date(self.iat.as_ref())?;
        let not_before = numeric_date(self.nbf.as_ref())?;
        // Added to our time, because adding to an arbitrary claim may overflow.
        let early = |time: DateTime<Utc>| time > now + LEEWAY;
        if expires < now - LEEWAY
            || expires > now + LEEWAY + MAX_TOKEN_TTL
            || issued.is_some_and(early)
            || not_before.is_some_and(early)
            || issued.is_some_and(|issued| expires - issued > MAX_TOKEN_TTL || expires < issued)
        {
            return Err(VerifyError::Stale);
        }
        Ok(())
    }
}

/// Parses a claim as `NumericDate` in whole seconds (RFC 7519, 2).
fn numeric_date(claim: Option<&Value>) -> Result<Option<DateTime<Utc>>, VerifyError> {
    let Some(claim) = claim else { return Ok(None) };
    let seconds = claim.as_i64().ok_or(VerifyError::Malformed)?;
    let time = DateTime::from_timestamp(seconds, 0).ok_or(VerifyError::Malformed)?;
    Ok(Some(time))
}

/// Checks that a token uses HS256 without critical extensions (`crit`, RFC 7515, 4.1.11).
fn check_token_header(header: &[u8]) -> Result<(), VerifyError> {
    let fields: HashMap<String, Value> =
        serde_json::from_slice(header).map_err(|_| VerifyError::Malformed)?;
    let is_hs256 = fields.get("alg").and_then(Value::as_str) == Some("HS256");
    if is_hs256 && !fields.contains_key("crit") {
        Ok(())
    } else {
        Err(VerifyError::Malformed)
    }
}

fn verify_bearer(
    secrets: &[SecretString],
    now: DateTime<Utc>,
    header: &str,
) -> Result<(), VerifyError> {
    if secrets.is_empty() {
        return Err(VerifyError::NotConfigured);
    }
    let token = header
        .strip_prefix("Bearer ")
        .or_else(|| header.strip_prefix("JWT "))
        .ok_or(VerifyError::Malformed)?;
    let (signed, tag) = token.rsplit_once('.').ok_or(VerifyError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(VerifyError::Malformed)?;
    let decode = |part: &str| {
        let decoded = URL_SAFE_NO_PAD.decode(part);
        decoded.map_err(|_| VerifyError::Malformed)
    };
    check_token_header(&decode(header)?)?;
    let tag = hex::encode(decode(tag)?);
    if !verify_hmac_sha256_hex(secrets, &[signed.as_bytes()], &tag) {
        return Err(VerifyError::Mismatch);
    }
    let claims: Claims =
        serde_json::from_slice(&decode(claims)?).map_err(|_| VerifyError::Malformed)?;
    claims.check(now)
}

fn verify_signature(
    secrets: &[SecretString],
    signature: &str,
    body: &[u8],
) -> Result<(), VerifyError> {
    if secrets.is_empty() {
        return Err(VerifyError::NotConfigured);
    }
    // Other algorithms are rejected.
    let hex = signature_hex(signature, "sha256=")?;
    if verify_hmac_sha256_hex(secrets, &[body], hex) {
        Ok(())
    } else {
        Err(VerifyError::Mismatch)
    }
}

/// The origin of a resource's URL, which identifies the site.
fn origin(url: &str) -> Option<String> {
    let origin = Url::parse(url).ok()?.origin();
    origin
        .is_tuple()
        .then(|| origin.ascii_serialization())
        .filter(|site| site.len() <= MAX_ORIGIN_LENGTH)
}

/// Normalizes a verified delivery.
pub(super) fn handle(
    delivery: &WebhookDelivery,
    directory: &Directory,
) -> Result<WebhookOutcome, ConnectorError> {
    let json = Json::of(delivery.body.as_ref());
    let payload = Payload::parse(&json)?;
    let context = NormalizeContext {
        account: &delivery.account,
        directory,
    };
    let facts = normalize::from_event(&context, &payload, delivery.received_at);
    Ok(WebhookOutcome::from_signals(facts))
}

#[cfg(test)]
mod tests;
