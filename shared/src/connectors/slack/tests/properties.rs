//! Property tests of arbitrary and changed payloads.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::golden::delivery;
use super::{connector, directory};
use crate::connectors::testing::{json, payloads, remove_at, replace_at, value};
use crate::connectors::{Connector, ConnectorError, WebhookOutcome};

/// Field names of Slack's payloads.
const NAMES: &[&str] = &[
    "type",
    "subtype",
    "event",
    "event_ts",
    "event_time",
    "ts",
    "thread_ts",
    "deleted_ts",
    "channel",
    "channel_id",
    "user",
    "user_id",
    "message",
    "previous_message",
    "edited",
    "item",
    "reaction",
    "file_id",
    "tokens",
    "bot",
    "id",
    "authorizations",
    "team_id",
    "challenge",
];

/// Returns a function that normalizes bodies with one connector.
fn handler() -> impl Fn(Vec<u8>) -> Result<WebhookOutcome, ConnectorError> {
    let (slack, _) = connector("http://localhost:1", &[]);
    move |body| slack.handle_webhook(&delivery(Bytes::from(body)), &directory())
}

fn keys(outcome: &WebhookOutcome) -> Vec<&str> {
    let signals = outcome.signals.iter();
    signals.map(|signal| signal.dedupe_key.as_str()).collect()
}

#[test]
fn changed_payloads_do_not_panic() {
    let (handle, all) = (handler(), payloads("slack"));
    proptest!(|(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 0..6),
        with in value(),
    )| {
        let mut payload: Value = serde_json::from_slice(&which.get(&all).1).expect("JSON");
        replace_at(&mut payload, &path, &with);
        if let Ok(outcome) = handle(payload.to_string().into_bytes()) {
            for key in keys(&outcome) {
                prop_assert!(key.starts_with("slack:T0ACME:"));
            }
        }
    });
}

#[test]
fn arbitrary_bytes_do_not_panic() {
    let handle = handler();
    proptest!(|(body in prop::collection::vec(any::<u8>(), 0..200))| {
        handle(body).ok();
    });
}

#[test]
fn arbitrary_json_does_not_panic() {
    let handle = handler();
    proptest!(|(payload in json(NAMES))| {
        if let Ok(outcome) = handle(payload.to_string().into_bytes()) {
            prop_assert!(outcome.signals.is_empty() || outcome.refused.is_none());
        }
    });
}

#[test]
fn missing_field_changes_no_dedupe_key() {
    let (handle, all) = (handler(), payloads("slack"));
    proptest!(|(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 1..6),
    )| {
        let body = &which.get(&all).1;
        let mut payload: Value = serde_json::from_slice(body).expect("JSON");
        let removed = remove_at(&mut payload, &path).unwrap_or_default();
        // Without these fields it is another event, or one with the envelope's time.
        prop_assume!(!["type", "subtype", "event_ts"].contains(&removed.as_str()));
        let whole = handle(body.to_vec()).expect("an outcome");
        let less = handle(payload.to_string().into_bytes()).expect("an outcome");
        for key in keys(&less) {
            prop_assert!(keys(&whole).contains(&key), "without {removed}: {key}");
        }
        let silent = less.signals.is_empty() && less.refused.is_none();
        if silent && removed != "event" && removed != "edited" {
            prop_assert!(whole.signals.is_empty(), "without {removed}: no Signal");
        }
    });
}

#[test]
fn form_delivery_yields_no_signal() {
    let handle = handler();
    proptest!(|(fields in prop::collection::vec((".{1,9}", ".{0,30}"), 0..6))| {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let outcome = handle(form.extend_pairs(&fields).finish().into_bytes()).expect("an outcome");
        prop_assert!(outcome.signals.is_empty() && outcome.changes.is_empty());
        prop_assert_eq!(outcome.refused, None);
    });
}
