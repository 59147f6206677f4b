//! Snapshot tests: the outcome of each payload is in the `.snap` file beside it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{account, directory, now};
use crate::connectors::jira::{normalize, webhook};
use crate::connectors::testing::{kinds, payload, snapshots};
use crate::connectors::{Directory, WebhookDelivery, WebhookOutcome};

pub(super) fn delivery(body: Bytes) -> WebhookDelivery {
    WebhookDelivery {
        headers: Vec::new(),
        body,
        received_at: now(),
        account: account(),
        subscription: None,
    }
}

pub(super) fn handle(body: &Bytes, directory: &Directory) -> WebhookOutcome {
    webhook::handle(&delivery(body.clone()), directory).expect("an outcome")
}

#[test]
fn payloads_match_their_snapshots() {
    snapshots("jira", |name, body| {
        let directory = directory();
        let outcome = handle(body, &directory);
        assert_eq!(directory.take_missing(), [], "{name}");
        outcome
    });
}

#[test]
fn every_emitted_kind_has_a_payload() {
    let covered = kinds("jira", |_, body| handle(body, &directory()));
    assert_eq!(
        covered,
        normalize::KINDS.iter().map(|kind| kind.as_str()).collect()
    );
}

#[test]
fn implausible_timestamp_is_ignored() {
    let body = payload("jira", "issue_deleted");
    let mut payload: Value = serde_json::from_slice(&body).expect("JSON");
    for timestamp in [i64::MAX, 253_402_300_800_000, -62_167_219_200_001] {
        payload["timestamp"] = json!(timestamp);
        let outcome = handle(&Bytes::from(payload.to_string()), &directory());
        assert_eq!(outcome.signals[0].timestamp, now(), "{timestamp}");
    }
}

#[test]
fn unknown_statuses_are_requested_together() {
    let body = payload("jira", "issue_updated.closed");
    let mut payload: Value = serde_json::from_slice(&body).expect("JSON");
    payload["issue"]["fields"]["status"] = Value::Null;
    let empty = Directory::default();
    handle(&Bytes::from(payload.to_string()), &empty);
    let missing: Vec<String> = empty.take_missing().into_iter().map(|key| key.id).collect();
    assert_eq!(missing, ["10000", "10002"]);
}
