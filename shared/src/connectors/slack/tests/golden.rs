//! Snapshot tests: the outcome of each payload is in the `.snap` file beside it.

use bytes::Bytes;

use super::{account, connector, directory, now};
use crate::connectors::slack::normalize;
use crate::connectors::testing::{kinds, payload, snapshots};
use crate::connectors::{Connector, Directory, WebhookDelivery, WebhookOutcome};

pub(super) fn delivery(body: Bytes) -> WebhookDelivery {
    WebhookDelivery {
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body,
        received_at: now(),
        account: account(),
        subscription: None,
    }
}

pub(super) fn handle(body: &Bytes, directory: &Directory) -> WebhookOutcome {
    let (slack, _) = connector("http://localhost:1", &[]);
    slack
        .handle_webhook(&delivery(body.clone()), directory)
        .expect("an outcome")
}

#[test]
fn payloads_match_their_snapshots() {
    snapshots("slack", |name, body| {
        let directory = directory();
        let outcome = handle(body, &directory);
        assert_eq!(directory.take_missing(), [], "{name}");
        assert!(
            outcome.signals.len() <= 1,
            "{name} has more than one Signal"
        );
        outcome
    });
}

#[test]
fn every_emitted_kind_has_a_payload() {
    let covered = kinds("slack", |_, body| handle(body, &directory()));
    assert_eq!(
        covered,
        normalize::KINDS.iter().map(|kind| kind.as_str()).collect()
    );
}

#[test]
fn mention_shares_key_with_its_message() {
    let find = |wanted: &str| {
        handle(&payload("slack", wanted), &directory())
            .signals
            .remove(0)
    };
    let (mention, message) = (find("app_mention"), find("message"));
    assert_eq!(mention.dedupe_key, message.dedupe_key);
    assert_eq!(mention.normalized["mentions_app"], true);
    assert_eq!(message.normalized["mentions_app"], false);
    assert_eq!(find("message.mention").normalized["mentions_app"], true);
}

#[test]
fn unknown_names_are_requested() {
    let body = payload("slack", "message");
    let empty = Directory::default();
    let outcome = handle(&body, &empty);
    assert_eq!(outcome.signals[0].actor.name, None);
    let missing: Vec<String> = empty.take_missing().into_iter().map(|key| key.id).collect();
    assert_eq!(missing, ["U0ADA", "C0GENERAL"]);
}
