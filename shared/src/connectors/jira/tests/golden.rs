//! Payload in, Signals out: one file each, beside the payload.

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
    }
}

pub(super) fn handle(body: &Bytes, directory: &Directory) -> WebhookOutcome {
    webhook::handle(&delivery(body.clone()), directory).expect("an outcome")
}

#[test]
fn every_payload_gives_what_is_written_beside_it() {
    snapshots("jira", |name, body| {
        let directory = directory();
        let outcome = handle(body, &directory);
        assert_eq!(directory.take_missing(), [], "{name}");
        outcome
    });
}

#[test]
fn every_kind_of_the_catalogue_has_a_payload() {
    let given = kinds("jira", |_, body| handle(body, &directory()));
    assert_eq!(
        given,
        normalize::KINDS.iter().map(|kind| kind.as_str()).collect()
    );
}

#[test]
fn a_time_that_nobody_could_read_is_no_time() {
    let body = payload("jira", "issue_deleted");
    let mut payload: Value = serde_json::from_slice(&body).expect("JSON");
    for timestamp in [i64::MAX, 253_402_300_800_000, -62_167_219_200_001] {
        payload["timestamp"] = json!(timestamp);
        let outcome = handle(&Bytes::from(payload.to_string()), &directory());
        assert_eq!(outcome.signals[0].timestamp, now(), "{timestamp}");
    }
}

#[test]
fn statuses_that_are_not_known_are_asked_for_both_at_once() {
    let body = payload("jira", "issue_updated.closed");
    let mut payload: Value = serde_json::from_slice(&body).expect("JSON");
    payload["issue"]["fields"]["status"] = Value::Null;
    let nothing = Directory::default();
    handle(&Bytes::from(payload.to_string()), &nothing);
    let missing: Vec<String> = nothing
        .take_missing()
        .into_iter()
        .map(|key| key.id)
        .collect();
    assert_eq!(missing, ["10000", "10002"]);
}
