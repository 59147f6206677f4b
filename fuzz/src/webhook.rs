//! Deliveries: verification as in ingress, normalization as in the worker.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use shared::connectors::{
    Connector, ConnectorError, Directory, KeySource, VerifyError, WebhookDelivery, WebhookOutcome,
    WebhookReceipt, WebhookRequest,
};
use shared::crypto::PublicKey;
use shared::model::{ConnectionId, ExternalAccount};

use crate::message::Message;
use crate::{provider, signature};

/// The registered public key.
const PUBLIC_KEY: &str =
    include_str!("../../shared/src/connectors/github/fixtures/test-app.pub.pem");
/// Maximum rounds of lookups. A worker needs one.
const MAX_LOOKUP_ROUNDS: usize = 2;

/// Signature scheme of a provider, as documented.
pub trait Scheme {
    /// The signature's header.
    const SIGNATURE: &'static str;
    /// Length of the signature at the end of the header's value.
    const SIGNATURE_CHARS: usize;
    /// Whether the signature covers the body.
    const COVERS_BODY: bool;

    /// Whether deliveries arrive at a connection's URL.
    const TO_CONNECTION: bool = false;

    /// Whether a request is authentic, computed without the connector.
    fn is_authentic(headers: &HeaderMap, body: &[u8]) -> bool;

    /// Whether the provider could send the request that [`Scheme::sign`] makes of the message.
    fn is_well_formed(_: &Message<'_>) -> bool {
        true
    }

    /// Signs a message, with the values of its directives.
    fn sign(message: &Message<'_>, headers: &mut HeaderMap, secret: usize);

    /// Sets the other headers that verification requires.
    fn identify(headers: &mut HeaderMap);
}

/// Sets a header to a valid text.
pub fn set_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("a header's value");
    headers.insert(HeaderName::from_static(name), value);
}

/// The value of a header; `None` if it occurs more than once.
pub fn single_header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether a header contains the body's signature under any of the secrets.
pub fn is_signed(headers: &HeaderMap, name: &str, body: &[u8]) -> bool {
    let sent = single_header(headers, name);
    let mut secrets = provider::WEBHOOK_SECRETS.iter();
    secrets.any(|secret| sent == Some(signature::body_signature(secret, body).as_str()))
}

/// Key source with the same secrets and public key for every connection.
///
/// The secrets are [`provider::WEBHOOK_SECRETS`].
struct Secrets;

#[async_trait]
impl KeySource for Secrets {
    async fn connection_secrets(
        &self,
        _: &'static str,
        _: ConnectionId,
    ) -> Result<Vec<SecretString>, VerifyError> {
        Ok(provider::WEBHOOK_SECRETS.map(SecretString::from).into())
    }

    async fn connection_public_keys(
        &self,
        _: &'static str,
        _: ConnectionId,
    ) -> Result<Vec<PublicKey>, VerifyError> {
        Ok(PublicKey::parse(PUBLIC_KEY).into_iter().collect())
    }
}

fn verify<S: Scheme>(
    connector: &dyn Connector,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<WebhookReceipt, VerifyError> {
    let request = WebhookRequest {
        headers,
        body,
        connection: S::TO_CONNECTION.then(ConnectionId::generate),
    };
    let verified = connector.verify_webhook(&request, &Secrets);
    verified
        .now_or_never()
        .expect("a verification without waiting")
}

/// Verifies and normalizes a delivery, and checks the invariants.
///
/// # Panics
///
/// If an invariant is violated.
pub fn run<S: Scheme>(connector: &dyn Connector, data: &[u8]) {
    let message = Message::parse(data);
    let body = Bytes::copy_from_slice(message.body);
    let mut headers = message.headers();
    if verify::<S>(connector, &headers, &body).is_ok() {
        assert!(S::is_authentic(&headers, &body), "a forgery was accepted");
    }

    S::sign(&message, &mut headers, message.body.len() % 2);
    let authentic = S::is_authentic(&headers, &body);
    let mut verified = verify::<S>(connector, &headers, &body);
    if authentic && verified.is_err() && S::is_well_formed(&message) {
        assert!(
            matches!(
                verified,
                Err(VerifyError::MissingHeader(_) | VerifyError::Malformed)
            ),
            "an authentic delivery was rejected: {verified:?}"
        );
        S::identify(&mut headers);
        verified = verify::<S>(connector, &headers, &body);
    }
    assert!(authentic || verified.is_err(), "a forgery was accepted");
    assert!(
        verified.is_ok() || !authentic || !S::is_well_formed(&message),
        "{verified:?}"
    );
    let Ok(receipt) = verified else { return };
    check_tampering::<S>(connector, &headers, &body);
    check_receipt(&receipt);
    if receipt.handshake.is_some() {
        return;
    }
    let stored = receipt.stored_body.as_ref().unwrap_or(&body);
    let known = provider::account();
    handle(connector, &headers, stored, known);
    for route in receipt.routes.iter().take(1) {
        let account = ExternalAccount::from_route(route);
        handle(connector, &headers, stored, account);
    }
}

/// Checks that a changed signature, a second one, and a changed body are rejected.
fn check_tampering<S: Scheme>(connector: &dyn Connector, headers: &HeaderMap, body: &Bytes) {
    let signed = single_header(headers, S::SIGNATURE).expect("a signature");
    let mut forged = headers.clone();
    let other = signature::tamper(signed, S::SIGNATURE_CHARS, body.len());
    set_header(&mut forged, S::SIGNATURE, &other);
    assert!(verify::<S>(connector, &forged, body).is_err(), "{other}");
    let mut twice = headers.clone();
    let again = headers[S::SIGNATURE].clone();
    twice.append(HeaderName::from_static(S::SIGNATURE), again);
    assert!(
        verify::<S>(connector, &twice, body).is_err(),
        "two signatures"
    );
    if S::COVERS_BODY {
        let longer = Bytes::from([body, &b" "[..]].concat());
        assert!(verify::<S>(connector, headers, &longer).is_err());
        if let Some((_, shorter)) = body.split_last() {
            let shorter = Bytes::copy_from_slice(shorter);
            assert!(verify::<S>(connector, headers, &shorter).is_err());
        }
    }
}

/// Checks that the receipt's values fit into the database's indexes.
fn check_receipt(receipt: &WebhookReceipt) {
    assert!(!receipt.event.is_empty(), "{receipt:?}");
    let texts = [&receipt.event, &receipt.dedupe_id];
    for text in texts.into_iter().chain(&receipt.routes) {
        assert!(text.len() < 2_000, "{receipt:?}");
    }
}

/// Normalizes a delivery as it would be stored, twice.
fn handle(connector: &dyn Connector, headers: &HeaderMap, body: &Bytes, account: ExternalAccount) {
    let kept = connector.descriptor().stored_headers.iter();
    let delivery = WebhookDelivery {
        headers: kept
            .filter_map(|name| {
                let value = headers.get(*name)?.as_bytes();
                Some((
                    (*name).to_owned(),
                    String::from_utf8_lossy(value).into_owned(),
                ))
            })
            .collect(),
        body: body.clone(),
        received_at: provider::now(),
        account,
        subscription: None,
    };
    let first = normalize(connector, &delivery);
    let second = normalize(connector, &delivery);
    assert_eq!(first, second, "the same delivery gives different outcomes");
}

/// Normalizes a delivery with all lookups resolved; returns the outcome or the error as text.
fn normalize(connector: &dyn Connector, delivery: &WebhookDelivery) -> String {
    let directory = Directory::default();
    let mut before: Option<Vec<String>> = None;
    for _ in 0..MAX_LOOKUP_ROUNDS {
        let outcome = match connector.handle_webhook(delivery, &directory) {
            Ok(outcome) => outcome,
            Err(ConnectorError::Permanent(source)) => return source.to_string(),
            Err(other) => panic!("not an error of a pure function: {other:?}"),
        };
        check(connector, &outcome);
        let keys = keys(&outcome);
        let missing = directory.take_missing();
        if missing.is_empty() {
            return format!("{outcome:?}");
        }
        assert!(
            before.as_ref().is_none_or(|before| *before == keys),
            "names change dedupe keys: {before:?}, {keys:?}"
        );
        before = Some(keys);
        directory.add(missing.into_iter().map(provider::directory_entry));
    }
    let outcome = connector.handle_webhook(delivery, &directory);
    assert!(directory.take_missing().is_empty(), "lookups do not end");
    format!("{outcome:?}")
}

fn keys(outcome: &WebhookOutcome) -> Vec<String> {
    let signals = outcome.signals.iter();
    signals.map(|signal| signal.dedupe_key.clone()).collect()
}

/// Checks the invariants of an outcome.
fn check(connector: &dyn Connector, outcome: &WebhookOutcome) {
    assert!(outcome.signals.is_empty() || outcome.refused.is_none());
    check_signals(connector, &outcome.signals);
}

/// Checks the invariants of a delivery's or a page's Signals.
///
/// # Panics
///
/// If an invariant is violated.
pub fn check_signals(connector: &dyn Connector, signals: &[shared::model::SignalDraft]) {
    let descriptor = connector.descriptor();
    let prefix = format!("{}:", descriptor.slug);
    let mut seen = BTreeSet::new();
    for signal in signals {
        let key = &signal.dedupe_key;
        assert!(key.starts_with(&prefix), "{key}");
        assert!(seen.insert(key), "{key} is a duplicate");
        assert!(descriptor.kinds.contains(&signal.kind), "{key}");
        // RFC 3339 has years of four digits.
        let year = chrono::Datelike::year(&signal.timestamp);
        assert!((0..=9999).contains(&year), "{key} has the year {year}");
        let draft = serde_json::to_string(signal).expect("a Signal as JSON");
        serde_json::from_str::<serde::de::IgnoredAny>(&draft).expect("valid JSON");
    }
}
