//! Snapshot tests: the outcome of each delivery is in the `.snap` file beside it.

use bytes::Bytes;
use serde_json::Value;

use super::{CHANNEL, TIME, account, now};
use crate::connectors::testing::{payload, snapshots};
use crate::connectors::zoho_cliq::directory::chat_entry;
use crate::connectors::zoho_cliq::webhook;
use crate::connectors::{ConnectorError, Directory, WebhookDelivery, WebhookOutcome};
use crate::model::TimestampSource;

/// The titles of chats that the root stream has stored.
pub(super) fn directory() -> Directory {
    Directory::of([
        chat_entry(CHANNEL, Some("#general"), true),
        chat_entry(
            "CT_2230144220045718119_64800112-B1",
            Some("Grace Hopper"),
            false,
        ),
    ])
}

pub(super) fn delivery(body: Bytes) -> WebhookDelivery {
    WebhookDelivery {
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body,
        received_at: now(),
        account: account(),
        subscription: None,
    }
}

pub(super) fn handle(body: &Bytes) -> Result<WebhookOutcome, ConnectorError> {
    webhook::handle(&delivery(body.clone()), &directory())
}

fn outcome(name: &str) -> WebhookOutcome {
    handle(&payload("zoho_cliq", name)).expect("an outcome")
}

#[test]
fn payloads_match_their_snapshots() {
    snapshots("zoho_cliq", |name, body| {
        let outcome = handle(body).expect("an outcome");
        assert!(
            outcome.signals.len() <= 1,
            "{name} has more than one Signal"
        );
        outcome
    });
}

#[test]
fn message_has_one_key_by_every_handler() {
    let key = format!("zoho_cliq:message:{CHANNEL}:{TIME}");
    for (name, mentions_app) in [
        ("participation.message_sent", false),
        ("participation.message_sent.time_as_text", false),
        ("participation.message_sent.time_in_id", false),
        ("participation.message_sent.mention_of_bot", true),
        ("participation.message_sent.mention_of_other_bot", false),
        ("mention", true),
    ] {
        let signal = outcome(name).signals.remove(0);
        assert_eq!(signal.dedupe_key, key, "{name}");
        assert_eq!(signal.normalized["mentions_app"], mentions_app, "{name}");
    }
}

#[test]
fn form_is_read_like_json() {
    let fields = [
        ("handler", "participation"),
        ("operation", "message_sent"),
        ("timestamp", "1800000000500"),
        (
            "data",
            r#"{"message":{"type":"text","text":"A & B"},"time":1800000000123}"#,
        ),
        ("user", r#"{"id":"64800202","first_name":"Grace"}"#),
        (
            "chat",
            r#"{"id":"CT_1","type":"channel","title":"[general]"}"#,
        ),
    ];
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let body = Bytes::from(form.extend_pairs(fields).finish());
    let signal = handle(&body).expect("an outcome").signals.remove(0);
    assert_eq!(signal.dedupe_key, format!("zoho_cliq:message:CT_1:{TIME}"));
    assert_eq!(signal.normalized["text"], "A & B");
    assert_eq!(signal.actor.name.as_deref(), Some("Grace"));
}

#[test]
fn typed_json_stays_text_in_a_form() {
    let typed = r#"{"text":"Hi","sender":{"id":"1"},"time":1700000000000}"#;
    for typed in [typed, "[1, 2]"] {
        let fields = [
            ("handler", "message"),
            ("message", typed),
            ("message_details", r#"{"time":1800000000123}"#),
            ("user", r#"{"id":"64800202","first_name":"Grace"}"#),
            ("chat", r#"{"id":"CT_1","type":"bot"}"#),
        ];
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let body = Bytes::from(form.extend_pairs(fields).finish());
        let signal = handle(&body).expect("an outcome").signals.remove(0);
        assert_eq!(signal.dedupe_key, format!("zoho_cliq:message:CT_1:{TIME}"));
        assert_eq!(signal.normalized["text"], typed);
        assert_eq!(signal.actor.id.as_deref(), Some("64800202"));
    }
}

#[test]
fn deletion_without_time_is_dated_by_receipt() {
    let body = payload("zoho_cliq", "participation.message_deleted");
    let mut body: Value = serde_json::from_slice(&body).expect("JSON");
    body["timestamp"] = Value::Null;
    let outcome = handle(&Bytes::from(body.to_string())).expect("an outcome");
    let deletion = &outcome.signals[0];
    assert_eq!(deletion.kind.as_str(), "message_deleted");
    assert_eq!(deletion.timestamp, now());
    assert_eq!(deletion.timestamp_source, TimestampSource::Received);
}

#[test]
fn unknown_organization_is_not_compared() {
    let mut delivery = delivery(payload(
        "zoho_cliq",
        "participation.message_sent.other_organization",
    ));
    delivery.account.settings["organization_id"] = Value::Null;
    let outcome = webhook::handle(&delivery, &directory()).expect("an outcome");
    assert_eq!((outcome.signals.len(), outcome.refused), (1, None));
}

#[test]
fn other_content_than_a_delivery_is_rejected() {
    for body in ["", "null", "7", "\"text\"", "[]", "no form", "{"] {
        let result = handle(&Bytes::from_static(body.as_bytes()));
        assert!(
            matches!(result, Err(ConnectorError::Permanent(_))),
            "{body}"
        );
    }
}
