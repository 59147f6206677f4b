//! A delivery's way: verified as ingress does it, read as a worker does it.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use shared::connectors::{
    Connector, ConnectorError, Directory, ExternalAccount, KeySource, VerifyError, WebhookDelivery,
    WebhookOutcome, WebhookReceipt, WebhookRequest,
};
use shared::ids::ConnectionId;

use crate::message::Message;
use crate::{provider, signature};

/// Rounds of asking for names. A worker asks once, and everything is known then.
const MOST_ROUNDS: usize = 2;

/// How a provider signs, as its documentation says.
pub trait Scheme {
    /// The header that carries the signature.
    const SIGNATURE: &'static str;
    /// How many characters at its end are the signature.
    const TAIL: usize;
    /// Whether it is over the body.
    const COVERS_BODY: bool;

    /// Whether it comes to a connection's own URL.
    const TO_CONNECTION: bool = false;

    /// Whether a request is genuine, found out without the connector.
    fn is_genuine(headers: &HeaderMap, body: &[u8]) -> bool;

    /// Whether what [`Scheme::sign`] makes of it is what the provider itself would make.
    fn is_ordinary(_: &Message<'_>) -> bool {
        true
    }

    /// Signs, with whatever the message says the signature is to be about.
    fn sign(message: &Message<'_>, headers: &mut HeaderMap, secret: usize);

    /// Sets the headers without which even a genuine delivery cannot be filed.
    fn identify(headers: &mut HeaderMap);
}

/// Sets a header to a text that the target made.
pub fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("a header's value");
    headers.insert(HeaderName::from_static(name), value);
}

/// The one value of a header.
pub fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether the header has the body's signature, under any of the secrets.
pub fn is_signed(headers: &HeaderMap, name: &str, body: &[u8]) -> bool {
    let claimed = single(headers, name);
    let mut secrets = provider::WEBHOOK_SECRETS.iter();
    secrets.any(|secret| claimed == Some(signature::of_body(secret, body).as_str()))
}

/// Every connection has the webhook secrets of the targets.
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
    verified.now_or_never().expect("nothing is waited for")
}

/// Has a delivery go all its way.
///
/// # Panics
///
/// When something does not hold.
pub fn run<S: Scheme>(connector: &dyn Connector, data: &[u8]) {
    let message = Message::parse(data);
    let body = Bytes::copy_from_slice(message.body);
    let mut headers = message.headers();
    if verify::<S>(connector, &headers, &body).is_ok() {
        assert!(S::is_genuine(&headers, &body), "a forgery is accepted");
    }

    S::sign(&message, &mut headers, message.body.len() % 2);
    let genuine = S::is_genuine(&headers, &body);
    let mut verified = verify::<S>(connector, &headers, &body);
    if genuine && verified.is_err() && S::is_ordinary(&message) {
        assert!(
            matches!(
                verified,
                Err(VerifyError::MissingHeader(_) | VerifyError::Malformed)
            ),
            "a genuine delivery is refused: {verified:?}"
        );
        S::identify(&mut headers);
        verified = verify::<S>(connector, &headers, &body);
    }
    assert!(genuine || verified.is_err(), "a forgery is accepted");
    assert!(
        verified.is_ok() || !genuine || !S::is_ordinary(&message),
        "{verified:?}"
    );
    let Ok(receipt) = verified else { return };
    refuse_changes::<S>(connector, &headers, &body);
    check_receipt(&receipt);
    if receipt.handshake.is_some() {
        return;
    }
    let known = provider::account();
    read(connector, &headers, &body, known);
    for route in receipt.routes.iter().take(1) {
        let account = ExternalAccount::of_route(route);
        read(connector, &headers, &body, account);
    }
}

/// What is not exactly what was signed is refused.
fn refuse_changes<S: Scheme>(connector: &dyn Connector, headers: &HeaderMap, body: &Bytes) {
    let signed = single(headers, S::SIGNATURE).expect("it was signed");
    let mut forged = headers.clone();
    let other = signature::changed(signed, S::TAIL, body.len());
    set(&mut forged, S::SIGNATURE, &other);
    assert!(verify::<S>(connector, &forged, body).is_err(), "{other}");
    let mut twice = headers.clone();
    let again = headers[S::SIGNATURE].clone();
    twice.append(HeaderName::from_static(S::SIGNATURE), again);
    assert!(verify::<S>(connector, &twice, body).is_err(), "two of them");
    if S::COVERS_BODY {
        let longer = Bytes::from([body, &b" "[..]].concat());
        assert!(verify::<S>(connector, headers, &longer).is_err());
        if let Some((_, shorter)) = body.split_last() {
            let shorter = Bytes::copy_from_slice(shorter);
            assert!(verify::<S>(connector, headers, &shorter).is_err());
        }
    }
}

/// What ingress writes down fits into its indexes.
fn check_receipt(receipt: &WebhookReceipt) {
    assert!(!receipt.event.is_empty(), "{receipt:?}");
    let texts = [&receipt.event, &receipt.dedupe_id];
    for text in texts.into_iter().chain(&receipt.routes) {
        assert!(text.len() < 2_000, "{receipt:?}");
    }
}

/// Reads a delivery as it would be stored.
fn read(connector: &dyn Connector, headers: &HeaderMap, body: &Bytes, account: ExternalAccount) {
    let kept = connector.descriptor().kept_headers.iter();
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
    };
    let first = told(connector, &delivery);
    let second = told(connector, &delivery);
    assert_eq!(first, second, "the same delivery says something else");
}

/// What a delivery says once every name is known, or why it cannot be read.
fn told(connector: &dyn Connector, delivery: &WebhookDelivery) -> String {
    let directory = Directory::default();
    let mut before: Option<Vec<String>> = None;
    for _ in 0..MOST_ROUNDS {
        let outcome = match connector.handle_webhook(delivery, &directory) {
            Ok(outcome) => outcome,
            Err(ConnectorError::Permanent(why)) => return why.to_string(),
            Err(other) => panic!("a pure function cannot fail so: {other:?}"),
        };
        check(connector, &outcome);
        let keys = keys(&outcome);
        let missing = directory.take_missing();
        if missing.is_empty() {
            return format!("{outcome:?}");
        }
        assert!(
            before.as_ref().is_none_or(|before| *before == keys),
            "names change an identity: {before:?}, {keys:?}"
        );
        before = Some(keys);
        directory.add(missing.into_iter().map(provider::entry));
    }
    let outcome = connector.handle_webhook(delivery, &directory);
    assert!(
        directory.take_missing().is_empty(),
        "it asks again and again"
    );
    format!("{outcome:?}")
}

fn keys(outcome: &WebhookOutcome) -> Vec<String> {
    let signals = outcome.signals.iter();
    signals.map(|signal| signal.dedupe_key.clone()).collect()
}

/// What holds for everything that a delivery may say.
fn check(connector: &dyn Connector, outcome: &WebhookOutcome) {
    assert!(outcome.signals.is_empty() || outcome.refused.is_none());
    check_signals(connector, &outcome.signals);
}

/// What holds for the Signals of one delivery or one page.
///
/// # Panics
///
/// When it does not hold.
pub fn check_signals(connector: &dyn Connector, signals: &[shared::signals::SignalDraft]) {
    let descriptor = connector.descriptor();
    let prefix = format!("{}:", descriptor.slug);
    let mut seen = BTreeSet::new();
    for signal in signals {
        let key = &signal.dedupe_key;
        assert!(key.starts_with(&prefix), "{key}");
        assert!(seen.insert(key), "{key} is told twice");
        assert!(descriptor.kinds.contains(&signal.kind), "{key}");
        // The API shows times as RFC 3339 has them.
        let year = chrono::Datelike::year(&signal.timestamp);
        assert!((0..=9999).contains(&year), "{key} happened in {year}");
        let draft = serde_json::to_string(signal).expect("a Signal is JSON");
        serde_json::from_str::<serde::de::IgnoredAny>(&draft).expect("and can be read again");
    }
}
