//! Payload in, Signals and changes out: one file each, beside the payload.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{account, connector, directory, now};
use crate::connectors::slack::normalize;
use crate::connectors::{Connector, Directory, WebhookDelivery, WebhookOutcome};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connectors/slack/fixtures")
}

/// Every payload, by name.
pub(super) fn payloads() -> Vec<(String, Bytes)> {
    let mut found: Vec<(String, Bytes)> = std::fs::read_dir(folder())
        .expect("the fixtures' folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy();
            let bytes = std::fs::read(&path).expect("a payload");
            (name.into_owned(), Bytes::from(bytes))
        })
        .collect();
    found.sort_unstable();
    assert!(found.len() > 25, "the payloads are where they should be");
    found
}

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

/// The outcome as it stands in a golden file. `raw` is checked here: it is a part of the
/// body, byte for byte.
fn told(outcome: &WebhookOutcome, body: &Bytes) -> Value {
    let text = std::str::from_utf8(body).expect("payloads are text");
    let signals: Vec<Value> = outcome
        .signals
        .iter()
        .map(|signal| {
            assert!(
                text.contains(signal.raw.get()),
                "raw is the provider's own bytes"
            );
            let mut told = serde_json::to_value(signal).expect("a Signal is JSON");
            let raw = told["raw"].take();
            told["raw"] = json!({ "fields": raw.as_object().map(serde_json::Map::len) });
            told
        })
        .collect();
    let mut told = json!({
        "signals": signals,
        "changes": outcome.changes.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>(),
        "learned": outcome.learned.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>(),
        "more_recipients": outcome.more_recipients,
    });
    if let Some(reason) = &outcome.refused {
        told["refused"] = json!(reason);
    }
    told
}

#[test]
fn every_payload_gives_what_is_written_beside_it() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (name, body) in payloads() {
        let directory = directory();
        let told = told(&handle(&body, &directory), &body);
        assert_eq!(directory.take_missing(), [], "{name}");
        settings.bind(|| insta::assert_json_snapshot!(name, told));
    }
}

#[test]
fn every_kind_of_the_catalogue_has_a_payload() {
    let mut kinds = BTreeSet::new();
    for (name, body) in payloads() {
        let outcome = handle(&body, &directory());
        assert!(outcome.signals.len() <= 1, "{name} tells one fact at most");
        kinds.extend(outcome.signals.iter().map(|signal| signal.kind.as_str()));
    }
    let known: BTreeSet<&str> = normalize::KINDS.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(kinds, known);
}

#[test]
fn a_mention_is_the_message_it_is_in() {
    let find = |wanted: &str| {
        let (_, body) = payloads()
            .into_iter()
            .find(|(name, _)| name == wanted)
            .expect("the payload");
        handle(&body, &directory()).signals.remove(0)
    };
    let (mention, message) = (find("app_mention"), find("message"));
    assert_eq!(mention.dedupe_key, message.dedupe_key);
    assert_eq!(mention.normalized["mentions_app"], true);
    assert_eq!(message.normalized["mentions_app"], false);
    assert_eq!(find("message.mention").normalized["mentions_app"], true);
}

#[test]
fn names_that_are_not_known_are_asked_for() {
    let (_, body) = payloads()
        .into_iter()
        .find(|(name, _)| name == "message")
        .expect("the payload");
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
