//! Payload in, Signals and changes out: one file each, beside the payload.

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
    }
}

pub(super) fn handle(body: &Bytes, directory: &Directory) -> WebhookOutcome {
    let (slack, _) = connector("http://localhost:1", &[]);
    slack
        .handle_webhook(&delivery(body.clone()), directory)
        .expect("an outcome")
}

#[test]
fn every_payload_gives_what_is_written_beside_it() {
    snapshots("slack", |name, body| {
        let directory = directory();
        let outcome = handle(body, &directory);
        assert_eq!(directory.take_missing(), [], "{name}");
        assert!(outcome.signals.len() <= 1, "{name} tells one fact at most");
        outcome
    });
}

#[test]
fn every_kind_of_the_catalogue_has_a_payload() {
    let given = kinds("slack", |_, body| handle(body, &directory()));
    assert_eq!(
        given,
        normalize::KINDS.iter().map(|kind| kind.as_str()).collect()
    );
}

#[test]
fn a_mention_is_the_message_it_is_in() {
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
fn names_that_are_not_known_are_asked_for() {
    let body = payload("slack", "message");
    let nothing = Directory::default();
    let outcome = handle(&body, &nothing);
    assert_eq!(outcome.signals[0].actor.name, None);
    let missing: Vec<String> = nothing
        .take_missing()
        .into_iter()
        .map(|key| key.id)
        .collect();
    assert_eq!(missing, ["U0ADA", "C0GENERAL"]);
}
