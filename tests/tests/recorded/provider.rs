//! A provider's connector, and the verification and handling of deliveries.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use futures::FutureExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::Value;
use sha2::Sha256;
use shared::clock::{Clock, ManualClock, SystemClock};
use shared::config::{Env, Reader};
use shared::connectors::{
    Connector, ConnectorDeps, ConnectorSettings, Directory, KeySource, Registry, VerifyError,
    WebhookDelivery, WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use shared::http::{Charge, LimitObservation, Permit, RateLimited, RateLimiter};
use shared::model::{ConnectionId, DirectoryEntry, ExternalAccount};

/// The webhook secret of these tests.
pub(crate) const SECRET: &str = "the secret of these tests";

struct NoopLimiter;

#[async_trait]
impl RateLimiter for NoopLimiter {
    async fn admit(&self, _: &'static str, _: &Charge<'_>) -> Result<Permit, RateLimited> {
        Ok(Permit::default())
    }

    async fn observe(&self, _: &'static str, _: &Charge<'_>, _: LimitObservation) {}
}

/// A connector with these settings, whose clock is stopped at the current time.
pub(crate) fn connector(slug: &str, settings: &[(&str, &str)]) -> Arc<dyn Connector> {
    connector_at(slug, settings, SystemClock.now())
}

/// A connector whose clock is stopped at a time.
pub(crate) fn connector_at(
    slug: &str,
    settings: &[(&str, &str)],
    now: DateTime<Utc>,
) -> Arc<dyn Connector> {
    let env = Env::from_pairs(settings.iter().copied());
    let mut reader = Reader::new(&env);
    let settings = ConnectorSettings::from_reader(&mut reader);
    reader.finish().expect("valid settings");
    let deps = ConnectorDeps {
        clock: Arc::new(ManualClock::new(now)),
        rate_limiter: Arc::new(NoopLimiter),
    };
    let registry = Registry::new(settings, &deps).expect("a registry");
    registry.get(slug).expect("the provider is configured")
}

/// Headers from pairs of name and value.
pub(crate) fn headers<'h>(pairs: impl IntoIterator<Item = (&'h str, &'h str)>) -> HeaderMap {
    pairs
        .into_iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a header's name");
            let value = HeaderValue::from_str(value).expect("a header's value");
            (name, value)
        })
        .collect()
}

/// HMAC-SHA-256 of the concatenated parts, in hex.
pub(crate) fn hmac_hex(secret: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    for part in parts {
        mac.update(part);
    }
    hex::encode(mac.finalize().into_bytes())
}

/// Key source that returns [`SECRET`] for every connection.
struct Secrets;

#[async_trait]
impl KeySource for Secrets {
    async fn connection_secrets(
        &self,
        _: &'static str,
        _: ConnectionId,
    ) -> Result<Vec<SecretString>, VerifyError> {
        Ok(vec![SECRET.into()])
    }
}

/// Verifies a delivery to the app's URL or to a connection's URL.
pub(crate) fn try_verify(
    connector: &dyn Connector,
    headers: &HeaderMap,
    body: &Bytes,
    connection: Option<ConnectionId>,
) -> Result<WebhookReceipt, VerifyError> {
    let request = WebhookRequest {
        headers,
        body,
        connection,
    };
    let verified = connector.verify_webhook(&request, &Secrets);
    verified
        .now_or_never()
        .expect("the verification does not wait")
}

/// Verifies a genuine delivery to the app's URL.
pub(crate) fn verify(
    connector: &dyn Connector,
    headers: &HeaderMap,
    body: &Bytes,
) -> WebhookReceipt {
    try_verify(connector, headers, body, None).expect("a genuine delivery")
}

/// Handles a verified delivery with its stored headers.
///
/// The directory has an entry without a name for each key that the connector looks up.
pub(crate) fn handle(
    connector: &dyn Connector,
    headers: &HeaderMap,
    body: &Bytes,
    account: &ExternalAccount,
    directory: &Directory,
) -> WebhookOutcome {
    let stored = connector.descriptor().stored_headers;
    let delivery = WebhookDelivery {
        headers: headers
            .iter()
            .filter(|(name, _)| stored.contains(&name.as_str()))
            .map(|(name, value)| {
                let value = value.to_str().expect("a text header");
                (name.to_string(), value.to_owned())
            })
            .collect(),
        body: body.clone(),
        received_at: DateTime::<Utc>::UNIX_EPOCH + Duration::days(20_000),
        account: account.clone(),
        subscription: None,
    };
    let first = connector
        .handle_webhook(&delivery, directory)
        .expect("an outcome");
    let unknown = directory.take_missing();
    directory.add(unknown.into_iter().map(DirectoryEntry::nameless));
    let outcome = connector
        .handle_webhook(&delivery, directory)
        .expect("an outcome");
    assert!(directory.take_missing().is_empty(), "all lookups are known");
    assert_eq!(
        keys(&first),
        keys(&outcome),
        "names do not change dedupe keys"
    );
    check_signals(connector, &outcome);
    outcome
}

/// Dedupe keys of an outcome's Signals.
pub(crate) fn keys(outcome: &WebhookOutcome) -> Vec<&str> {
    outcome
        .signals
        .iter()
        .map(|signal| signal.dedupe_key.as_str())
        .collect()
}

/// Kinds of an outcome's Signals.
pub(crate) fn kinds(outcome: &WebhookOutcome) -> Vec<&'static str> {
    outcome
        .signals
        .iter()
        .map(|signal| signal.kind.as_str())
        .collect()
}

/// Checks the invariants of a delivery's Signals.
fn check_signals(connector: &dyn Connector, outcome: &WebhookOutcome) {
    let descriptor = connector.descriptor();
    let prefix = format!("{}:", descriptor.slug);
    let mut seen = BTreeSet::new();
    for signal in &outcome.signals {
        let key = &signal.dedupe_key;
        assert!(key.starts_with(&prefix), "{key}");
        assert!(seen.insert(key), "duplicate {key}");
        assert!(descriptor.kinds.contains(&signal.kind), "{key}");
        serde_json::from_str::<Value>(signal.raw.get()).expect("raw is JSON");
    }
}
