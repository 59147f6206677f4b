//! Payload in, Signals and changes out: one file each, beside the payload.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};

use super::at;
use crate::connectors::github::{normalize, webhook};
use crate::connectors::{AccountChange, ExternalAccount, WebhookDelivery, WebhookOutcome};
use crate::signals::SignalKind;

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connectors/github/fixtures")
}

/// Every payload: its name, `<event>[.<action>[.<variant>]]`, and its bytes.
pub(super) fn payloads() -> Vec<(String, Bytes)> {
    static PAYLOADS: LazyLock<Vec<(String, Bytes)>> = LazyLock::new(|| {
        let mut found: Vec<(String, Bytes)> = std::fs::read_dir(folder())
            .expect("the fixtures' folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .map(|path| {
                let name = path
                    .file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned();
                (name, Bytes::from(std::fs::read(&path).expect("a payload")))
            })
            .collect();
        found.sort_unstable();
        assert!(found.len() > 100, "the payloads are where they should be");
        found
    });
    PAYLOADS.clone()
}

pub(super) fn delivery(event: &str, body: Bytes) -> WebhookDelivery {
    WebhookDelivery {
        headers: vec![
            ("x-github-event".to_owned(), event.to_owned()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ],
        body,
        received_at: at("2026-11-23T10:00:09.5Z"),
        account: ExternalAccount::of_route("7654321"),
    }
}

fn event_of(name: &str) -> &str {
    name.split('.').next().expect("an event")
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
    let changes: Vec<String> = outcome
        .changes
        .iter()
        .map(|change| format!("{change:?}"))
        .collect();
    json!({ "signals": signals, "changes": changes })
}

#[test]
fn every_payload_gives_what_is_written_beside_it() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (name, body) in payloads() {
        let outcome = webhook::handle(&delivery(event_of(&name), body.clone()))
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let told = told(&outcome, &body);
        settings.bind(|| insta::assert_json_snapshot!(name, told));
    }
}

#[test]
fn every_kind_of_the_catalogue_has_a_payload() {
    let mut kinds = BTreeSet::new();
    for (name, body) in payloads() {
        let outcome = webhook::handle(&delivery(event_of(&name), body)).expect("an outcome");
        assert!(outcome.signals.len() <= 1, "{name} tells one fact at most");
        kinds.extend(outcome.signals.iter().map(|signal| signal.kind.as_str()));
    }
    let known: BTreeSet<&str> = normalize::KINDS
        .iter()
        .map(|kind: &SignalKind| kind.as_str())
        .collect();
    assert_eq!(kinds, known);
}

#[test]
fn a_form_gives_what_its_json_gives() {
    let (name, body) = payloads().remove(0);
    let json = std::str::from_utf8(&body).expect("text");
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", json)
        .finish();
    let mut posted = delivery(event_of(&name), Bytes::from(form));
    posted.headers[1].1 = "application/x-www-form-urlencoded; charset=utf-8".to_owned();
    let by_form = webhook::handle(&posted).expect("an outcome");
    let by_json = webhook::handle(&delivery(event_of(&name), body.clone())).expect("an outcome");
    assert_eq!(told(&by_form, &body), told(&by_json, &body));
}

#[test]
fn the_second_installation_names_who_asked_for_it() {
    let body = payloads()
        .into_iter()
        .find_map(|(name, body)| (name == "installation.created.requested").then_some(body))
        .expect("the payload");
    let outcome = webhook::handle(&delivery("installation", body)).expect("an outcome");
    let [AccountChange::Installed { account, requester }] = outcome.changes.as_slice() else {
        panic!("one change: {:?}", outcome.changes);
    };
    assert_eq!(
        (account.id.as_str(), account.stable_id.as_str()),
        ("7654321", "6811672")
    );
    assert_eq!(requester.as_deref(), Some("480938"));
}
