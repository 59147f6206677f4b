//! Webhooks: proof first, then meaning.
//!
//! Those that were subscribed to come to the app's URL and bring a JWT that is signed with the
//! app's client secret. It does not cover the body and the secret is the whole app's, so it
//! proves only that Jira sent something: whose it is, the site and the subscription's number in
//! the body must both say, and only a connection that holds that number at that site gets it.
//! Those that an administrator set up come to a connection's own URL and are signed over the
//! body with that connection's secret; only that connection gets them, whatever the body says.

use std::collections::HashMap;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::normalize::{self, Scene};
use super::settings::{self, CLIENT_SECRET};
use super::subscriptions::route;
use super::wire::Payload;
use super::{SLUG, descriptor};
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::connectors::support::{identifier, signature_hex, single};
use crate::connectors::wire::Json;
use crate::connectors::{
    Acknowledgement, ConnectionWebhooks, ConnectorError, Directory, KeySource, ProviderDescriptor,
    VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest, WebhookVerifier,
};
use crate::crypto::{sha256, verify_hmac_sha256_hex};

const AUTHORIZATION: &str = "authorization";
const SIGNATURE: &str = "x-hub-signature";
const IDENTIFIER: &str = "x-atlassian-webhook-identifier";

/// The headers without which no delivery to the app's URL is genuine.
pub(super) const REQUIRED_HEADERS: &[&str] = &[IDENTIFIER, AUTHORIZATION];

/// Deliveries to a connection's own URL are signed with a secret that we make.
pub(super) const CONNECTION_WEBHOOKS: ConnectionWebhooks = ConnectionWebhooks {
    required_headers: &[IDENTIFIER, SIGNATURE],
    handshake_header: None,
    takes_public_key: false,
};

/// The headers that are kept with a delivery.
pub(super) const KEPT_HEADERS: &[&str] = &[
    IDENTIFIER,
    "x-atlassian-webhook-retry",
    "x-atlassian-webhook-flow",
    "content-type",
    "user-agent",
];

/// How far Atlassian's clock may be from ours.
const LEEWAY: Duration = Duration::seconds(60);
/// The longest that a token may be valid; Jira's are valid for minutes.
const MAX_TOKEN_LIFE: Duration = Duration::hours(1);
/// Longer names of events are not Jira's.
const MOST_NAME: usize = 60;
/// Longer than a site's origin can be: a host's name has 253 characters at most (RFC 1035).
const MOST_SITE: usize = 300;
/// More subscriptions than one person may have at a site, times many persons.
const MOST_ROUTES: usize = 1_000;

/// Verifies deliveries, by the app's client secret or a connection's own secret.
pub struct Webhooks {
    descriptor: ProviderDescriptor,
    client_secrets: Vec<SecretString>,
    clock: SharedClock,
}

impl Webhooks {
    /// Reads the settings that verification needs.
    pub fn from_reader(reader: &mut Reader<'_>, clock: &SharedClock) -> Self {
        Self {
            descriptor: descriptor(settings::limits(reader)),
            client_secrets: reader.one_or_two_secrets(CLIENT_SECRET),
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

/// Verifies that a delivery is genuine, under any of the active secrets.
pub(super) async fn verify(
    client_secrets: &[SecretString],
    now: DateTime<Utc>,
    request: &WebhookRequest<'_>,
    keys: &dyn KeySource,
) -> Result<WebhookReceipt, VerifyError> {
    let WebhookRequest { headers, body, .. } = *request;
    identifier(headers, IDENTIFIER)?;
    if let Some(connection) = request.connection {
        let signature = single(headers, SIGNATURE)?;
        let secrets = keys.connection_secrets(SLUG, connection).await?;
        verify_signature(&secrets, signature, body)?;
    } else {
        verify_bearer(client_secrets, now, single(headers, AUTHORIZATION)?)?;
    }
    let json = Json::of(body.as_ref());
    let payload = Payload::parse(&json).unwrap_or_default();
    let site = payload.own_url().as_deref().and_then(origin);
    let mut routes: Vec<String> = match (&site, request.connection) {
        (Some(site), None) => payload
            .matched
            .iter()
            .flatten()
            .take(MOST_ROUTES)
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
            .take(MOST_NAME)
            .collect(),
        // The identifier is not signed, and a token may be of several deliveries: Jira mints equal
        // ones within a second. A retry has the same body, whose times are in milliseconds.
        dedupe_id: format!("{sender}:{}", hex::encode(sha256(body))),
        routes,
        acknowledgement: Acknowledgement::default(),
        handshake: None,
        stored_body: None,
    })
}

/// Claims of the token that are checked; nobody documents the others.
#[derive(Deserialize)]
struct Claims {
    exp: Option<Value>,
    iat: Option<Value>,
    nbf: Option<Value>,
}

impl Claims {
    /// Checks that the token is valid at `now`, and not for longer than [`MAX_TOKEN_LIFE`].
    fn check(&self, now: DateTime<Utc>) -> Result<(), VerifyError> {
        // A token that never ends would serve for ever.
        let expires = moment(self.exp.as_ref())?.ok_or(VerifyError::Malformed)?;
        let issued = moment(self.iat.as_ref())?;
        let not_before = moment(self.nbf.as_ref())?;
        // Reckoned from our time: theirs may be one that nothing can be added to.
        let early = |time: DateTime<Utc>| time > now + LEEWAY;
        if expires < now - LEEWAY
            || expires > now + LEEWAY + MAX_TOKEN_LIFE
            || issued.is_some_and(early)
            || not_before.is_some_and(early)
            || issued.is_some_and(|issued| expires - issued > MAX_TOKEN_LIFE || expires < issued)
        {
            return Err(VerifyError::Stale);
        }
        Ok(())
    }
}

/// A claim's time, in whole seconds since 1970.
fn moment(claim: Option<&Value>) -> Result<Option<DateTime<Utc>>, VerifyError> {
    let Some(claim) = claim else { return Ok(None) };
    let seconds = claim.as_i64().ok_or(VerifyError::Malformed)?;
    let time = DateTime::from_timestamp(seconds, 0).ok_or(VerifyError::Malformed)?;
    Ok(Some(time))
}

/// Checks that a token's header names HS256 and asks for no extension (`crit`, RFC 7515, 4.1.11).
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
    // The method is named, and another than this is none we take.
    let hex = signature_hex(signature, "sha256=")?;
    if verify_hmac_sha256_hex(secrets, &[body], hex) {
        Ok(())
    } else {
        Err(VerifyError::Mismatch)
    }
}

/// The site that a resource lives at.
fn origin(url: &str) -> Option<String> {
    let origin = Url::parse(url).ok()?.origin();
    origin
        .is_tuple()
        .then(|| origin.ascii_serialization())
        .filter(|site| site.len() <= MOST_SITE)
}

/// What a genuine delivery says.
pub(super) fn handle(
    delivery: &WebhookDelivery,
    directory: &Directory,
) -> Result<WebhookOutcome, ConnectorError> {
    let json = Json::of(delivery.body.as_ref());
    let payload = Payload::parse(&json)?;
    let scene = Scene {
        account: &delivery.account,
        directory,
    };
    let facts = normalize::event(&scene, &payload, delivery.received_at);
    Ok(WebhookOutcome::telling(facts))
}

#[cfg(test)]
mod tests;
