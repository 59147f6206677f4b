//! Webhooks: proof first, then meaning.
//!
//! Those that were subscribed to bring a JWT that is signed with the app's client secret. It
//! does not cover the body and the secret is the whole app's, so it proves only that Jira sent
//! something: whose it is, the site and the subscription's number in the body must both say,
//! and only a connection that holds that number at that site gets it. Those that an
//! administrator set up are signed over the body, with the webhook secret.

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use http::HeaderMap;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::normalize::{self, Scene};
use super::settings::AppSettings;
use super::subscriptions::route;
use super::wire::Payload;
use crate::connectors::support::{identifier, signature_hex, single};
use crate::connectors::{
    ConnectorError, Directory, VerifyError, WebhookDelivery, WebhookOutcome, WebhookReceipt,
};
use crate::crypto::verify_hmac_sha256_hex;

const AUTHORIZATION: &str = "authorization";
const SIGNATURE: &str = "x-hub-signature";
const IDENTIFIER: &str = "x-atlassian-webhook-identifier";

/// The headers without which nothing is genuine, of either kind.
pub(super) const REQUIRED_HEADERS: &[&str] = &[IDENTIFIER];

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
/// Longer names of events are not Jira's.
const MOST_NAME: usize = 60;
/// Longer than a site's origin can be: a host's name has 253 characters at most (RFC 1035).
const MOST_SITE: usize = 300;
/// More subscriptions than one person may have at a site, times many persons.
const MOST_ROUTES: usize = 1_000;

/// Checks that a delivery is genuine, under any of the active secrets.
pub(super) fn verify(
    app: &AppSettings,
    now: DateTime<Utc>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<WebhookReceipt, VerifyError> {
    let delivery = identifier(headers, IDENTIFIER)?;
    let by_app = if headers.contains_key(AUTHORIZATION) || !headers.contains_key(SIGNATURE) {
        verify_bearer(&app.client_secrets, now, single(headers, AUTHORIZATION)?)?;
        true
    } else {
        verify_signature(&app.webhook_secrets, single(headers, SIGNATURE)?, body)?;
        false
    };
    let payload = Payload::parse(body).unwrap_or_default();
    let site = payload.own_url().as_deref().and_then(origin);
    let mut routes: Vec<String> = match (&site, by_app) {
        (None, _) => Vec::new(),
        (Some(site), false) => vec![site.clone()],
        (Some(site), true) => payload
            .matched
            .iter()
            .flatten()
            .take(MOST_ROUTES)
            .map(|id| route(site, &id.to_string()))
            .collect(),
    };
    routes.sort_unstable();
    routes.dedup();
    Ok(WebhookReceipt {
        event: payload
            .event
            .as_deref()
            .unwrap_or("unknown")
            .chars()
            .take(MOST_NAME)
            .collect(),
        // The identifier is unique within a site only.
        dedupe_id: format!("{}:{delivery}", site.as_deref().unwrap_or_default()),
        routes,
        reply: None,
    })
}

/// What the token says, as far as it matters.
#[derive(Deserialize)]
struct Claims {
    iat: Option<i64>,
    exp: Option<i64>,
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
    let head = jsonwebtoken::decode_header(token).map_err(|_| VerifyError::Malformed)?;
    if head.alg != Algorithm::HS256 {
        return Err(VerifyError::Malformed);
    }
    let mut validation = Validation::new(Algorithm::HS256);
    // Times are judged below, by the one clock.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = secrets
        .iter()
        .filter(|secret| !secret.expose_secret().is_empty())
        .find_map(|secret| {
            let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
            jsonwebtoken::decode::<Claims>(token, &key, &validation).ok()
        })
        .ok_or(VerifyError::Mismatch)?
        .claims;
    let moment = |seconds: i64| DateTime::from_timestamp(seconds, 0).ok_or(VerifyError::Malformed);
    // A token that never ends would serve for ever.
    let end = moment(claims.exp.ok_or(VerifyError::Malformed)?)?;
    let begin = claims.iat.map(moment).transpose()?;
    // Reckoned from our time: theirs may be one that nothing can be added to.
    if end < now - LEEWAY || begin.is_some_and(|begin| begin > now + LEEWAY) {
        return Err(VerifyError::Stale);
    }
    Ok(())
}

fn verify_signature(
    secrets: &[SecretString],
    signature: &str,
    body: &Bytes,
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
    let payload = Payload::parse(&delivery.body)?;
    let scene = Scene {
        account: &delivery.account,
        directory,
    };
    let facts = normalize::event(&scene, &payload, delivery.received_at);
    Ok(WebhookOutcome::telling(facts))
}

#[cfg(test)]
mod tests;
