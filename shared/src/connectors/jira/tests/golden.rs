//! Payload in, Signals out: one file each, beside the payload.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{account, directory, now};
use crate::connectors::jira::{normalize, webhook};
use crate::connectors::{Directory, WebhookDelivery, WebhookOutcome};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connectors/jira/fixtures")
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
    assert!(found.len() > 20, "the payloads are where they should be");
    found
}

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
    match &outcome.refused {
        None => json!({ "signals": signals }),
        Some(reason) => json!({ "signals": signals, "refused": reason }),
    }
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
    let kinds: BTreeSet<&str> = payloads()
        .iter()
        .flat_map(|(_, body)| handle(body, &directory()).signals)
        .map(|signal| signal.kind.as_str())
        .collect();
    let known: BTreeSet<&str> = normalize::KINDS.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(kinds, known);
}

#[test]
fn statuses_that_are_not_known_are_asked_for_both_at_once() {
    let (_, body) = payloads()
        .into_iter()
        .find(|(name, _)| name == "issue_updated.closed")
        .expect("the payload");
    let nothing = Directory::default();
    handle(&body, &nothing);
    let missing: Vec<String> = nothing
        .take_missing()
        .into_iter()
        .map(|key| key.id)
        .collect();
    assert_eq!(missing, ["10000", "10002"]);
}
