//! Snapshot tests: the outcome of each message is in the `.snap` file beside it.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;

use super::{account, now};
use crate::connectors::WebhookOutcome;
use crate::connectors::gmail::normalize;
use crate::connectors::gmail::wire::Message;
use crate::connectors::testing::{kinds, snapshots};

/// The time before which messages are not facts.
fn floor() -> DateTime<Utc> {
    now() - TimeDelta::days(30)
}

/// Normalizes a message; the outcome of a delivery has the form of the golden files.
pub(super) fn outcome(body: &Bytes) -> WebhookOutcome {
    let raw: Result<Box<RawValue>, _> = serde_json::from_slice(body);
    let Ok(raw) = raw else {
        return WebhookOutcome::default();
    };
    let signal = Message::parse(&raw)
        .and_then(|message| normalize::message(&account(), &message, floor(), &raw));
    WebhookOutcome::from_signals(signal.map(Vec::from_iter))
}

#[test]
fn payloads_match_their_snapshots() {
    snapshots("gmail", |_, body| outcome(body));
}

#[test]
fn every_emitted_kind_has_a_payload() {
    let covered = kinds("gmail", |_, body| outcome(body));
    let emitted = normalize::KINDS.iter().map(|kind| kind.as_str());
    assert_eq!(covered, emitted.collect());
}
