//! Golden files: each payload of a provider beside the snapshot of its outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::connectors::WebhookOutcome;

fn folder(provider: &str) -> PathBuf {
    let folder = format!("src/connectors/{provider}/fixtures");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// All payloads of a provider: name (`<event>[.<action>[.<variant>]]`) and bytes.
///
/// They are read once and cached, because property tests use them repeatedly.
pub(in super::super) fn payloads(provider: &'static str) -> Vec<(String, Bytes)> {
    static CACHE: Mutex<BTreeMap<&'static str, Vec<(String, Bytes)>>> = Mutex::new(BTreeMap::new());
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    cache
        .entry(provider)
        .or_insert_with(|| read_all(provider))
        .clone()
}

fn read_all(provider: &str) -> Vec<(String, Bytes)> {
    let mut found: Vec<(String, Bytes)> = std::fs::read_dir(folder(provider))
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
    assert!(found.len() > 20, "the fixtures folder holds the payloads");
    found
}

/// One payload.
pub(in super::super) fn payload(provider: &str, name: &str) -> Bytes {
    let path = folder(provider).join(format!("{name}.json"));
    std::fs::read(path).expect("the payload").into()
}

/// Serializes an outcome for its golden file, after checking that `raw` is part of the body.
fn serialize(outcome: &WebhookOutcome, body: &Bytes) -> Value {
    let text = std::str::from_utf8(body).expect("payloads are text");
    let signals: Vec<Value> = outcome
        .signals
        .iter()
        .map(|signal| {
            assert!(
                text.contains(signal.raw.get()),
                "raw is the provider's own bytes"
            );
            let mut value = serde_json::to_value(signal).expect("a Signal is JSON");
            let raw = value["raw"].take();
            value["raw"] = json!({ "fields": raw.as_object().map(serde_json::Map::len) });
            value
        })
        .collect();
    let mut value = json!({ "signals": signals });
    if !outcome.changes.is_empty() {
        let changes = outcome.changes.iter();
        value["changes"] = changes.map(|change| format!("{change:?}")).collect();
    }
    if let Some(hint) = &outcome.sync_hint {
        value["sync_hint"] = json!(format!("{hint:?}"));
    }
    if !outcome.directory_updates.is_empty() {
        let directory_updates = outcome.directory_updates.iter();
        value["directory_updates"] = directory_updates
            .map(|entry| format!("{entry:?}"))
            .collect();
    }
    if outcome.more_recipients {
        value["more_recipients"] = json!(true);
    }
    if let Some(reason) = &outcome.refused {
        value["refused"] = json!(reason);
    }
    value
}

/// Compares the outcome of every payload with its golden file.
pub(in super::super) fn snapshots(
    provider: &'static str,
    mut handle: impl FnMut(&str, &Bytes) -> WebhookOutcome,
) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder(provider));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (name, body) in payloads(provider) {
        let outcome = serialize(&handle(&name, &body), &body);
        settings.bind(|| insta::assert_json_snapshot!(name, outcome));
    }
}

/// The Signal kinds that the payloads produce.
pub(in super::super) fn kinds(
    provider: &'static str,
    mut handle: impl FnMut(&str, &Bytes) -> WebhookOutcome,
) -> BTreeSet<&'static str> {
    payloads(provider)
        .iter()
        .flat_map(|(name, body)| handle(name, body).signals)
        .map(|signal| signal.kind.as_str())
        .collect()
}
