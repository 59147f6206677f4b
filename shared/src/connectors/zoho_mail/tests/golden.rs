//! Snapshot tests: the outcome of each mail is in the `.snap` file beside it.
//!
//! Names that begin with `row` are rows of a list, the others deliveries.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::account;
use crate::connectors::testing::{kinds, snapshots};
use crate::connectors::zoho_mail::wire::Mail;
use crate::connectors::zoho_mail::{normalize, webhook};
use crate::connectors::{WebhookDelivery, WebhookOutcome};
use crate::model::SignalKind;

/// Normalizes a row or a delivery; the outcome of a row has the form of the golden files.
pub(super) fn outcome(name: &str, body: &Bytes) -> WebhookOutcome {
    if !name.starts_with("row") {
        return webhook::handle(&WebhookDelivery {
            headers: Vec::new(),
            body: body.clone(),
            received_at: super::now(),
            account: account(),
            subscription: None,
        });
    }
    let kind = if name.starts_with("row.sent") {
        SignalKind::EmailSent
    } else {
        SignalKind::EmailReceived
    };
    let raw: Result<Box<RawValue>, _> = serde_json::from_slice(body);
    let Ok(raw) = raw else {
        return WebhookOutcome::default();
    };
    let signal = Mail::parse(&raw).and_then(|mail| normalize::mail(&account(), kind, &mail, &raw));
    WebhookOutcome::from_signals(signal.map(|signal| vec![signal]))
}

#[test]
fn payloads_match_their_snapshots() {
    snapshots("zoho_mail", outcome);
}

#[test]
fn every_emitted_kind_has_a_payload() {
    let covered = kinds("zoho_mail", outcome);
    let emitted = normalize::KINDS.iter().map(|kind| kind.as_str());
    assert_eq!(covered, emitted.collect());
}
