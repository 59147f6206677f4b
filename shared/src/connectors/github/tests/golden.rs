//! Golden tests: each payload with the snapshot of its outcome.

use bytes::Bytes;

use super::at;
use crate::connectors::github::{normalize, webhook};
use crate::connectors::testing::{kinds, payload, payloads, snapshots};
use crate::connectors::{AccountChange, WebhookDelivery, WebhookOutcome};
use crate::model::ExternalAccount;

pub(super) fn delivery(event: &str, body: Bytes) -> WebhookDelivery {
    WebhookDelivery {
        headers: vec![
            ("x-github-event".to_owned(), event.to_owned()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ],
        body,
        received_at: at("2026-11-23T10:00:09.5Z"),
        account: ExternalAccount::from_route("7654321"),
        subscription: None,
    }
}

fn event_of(name: &str) -> &str {
    name.split('.').next().expect("an event")
}

fn handle(name: &str, body: &Bytes) -> WebhookOutcome {
    let outcome = webhook::handle(&delivery(event_of(name), body.clone()))
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert!(outcome.signals.len() <= 1, "{name} yields at most one fact");
    outcome
}

#[test]
fn payload_outcomes_match_snapshots() {
    snapshots("github", handle);
}

#[test]
fn every_kind_has_a_payload() {
    let produced = kinds("github", handle);
    assert_eq!(
        produced,
        normalize::KINDS.iter().map(|kind| kind.as_str()).collect()
    );
}

#[test]
fn form_encoded_payload_equals_json_payload() {
    let (name, body) = payloads("github").remove(0);
    let json = std::str::from_utf8(&body).expect("text");
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", json)
        .finish();
    let mut posted = delivery(event_of(&name), Bytes::from(form));
    posted.headers[1].1 = "application/x-www-form-urlencoded; charset=utf-8".to_owned();
    let by_form = webhook::handle(&posted).expect("an outcome");
    let by_json = handle(&name, &body);
    assert_eq!(format!("{by_form:?}"), format!("{by_json:?}"));
}

#[test]
fn requested_installation_names_requester() {
    let name = "installation.created.requested";
    let outcome = handle(name, &payload("github", name));
    let [AccountChange::Installed { account, requester }] = outcome.changes.as_slice() else {
        panic!("one change: {:?}", outcome.changes);
    };
    assert_eq!(
        (account.id.as_str(), account.stable_id.as_str()),
        ("7654321", "6811672")
    );
    assert_eq!(requester.as_deref(), Some("480938"));
}
