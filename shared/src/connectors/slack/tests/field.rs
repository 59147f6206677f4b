//! Regression tests of payloads from production.
//!
//! Unusual texts, link previews, changed channel ids.

use bytes::Bytes;
use serde_json::{Value, json};

use super::golden::{delivery, handle};
use super::{connector, directory};
use crate::connectors::testing::payload;
use crate::connectors::{AccountChange, Connector, WebhookOutcome};
use crate::model::ActorKind;

fn with_event(event: &Value) -> Bytes {
    let mut body: Value = serde_json::from_slice(&payload("slack", "message")).expect("JSON");
    body["event"] = event.clone();
    Bytes::from(body.to_string())
}

fn normalize_event(event: &Value) -> WebhookOutcome {
    handle(&with_event(event), &directory())
}

fn changed_event(edited: Option<&str>, previously: Option<&str>) -> Value {
    let message = |at: Option<&str>| {
        let mut message = json!({ "ts": "1600000000.000100", "user": "U0ADA", "text": "see this" });
        if let Some(at) = at {
            message["edited"] = json!({ "user": "U0ADA", "ts": at });
        }
        message
    };
    json!({
        "type": "message", "subtype": "message_changed", "channel": "C0GENERAL",
        "message": message(edited), "previous_message": message(previously),
        "ts": "1795428000.000200", "event_ts": "1795428000.000200",
    })
}

#[test]
fn slack_unfurl_of_old_edited_message_is_ignored() {
    for (edited, previously, facts) in [
        (Some("1600000100.000000"), None, 1),
        (Some("1600000100.000000"), Some("1600000050.000000"), 1),
        (Some("1600000100.000000"), Some("1600000100.000000"), 0),
        (None, None, 0),
        (None, Some("1600000100.000000"), 0),
    ] {
        let outcome = normalize_event(&changed_event(edited, previously));
        assert_eq!(
            outcome.signals.len(),
            facts,
            "{edited:?} after {previously:?}"
        );
        assert_eq!(outcome.refused, None);
    }
}

#[test]
fn lone_surrogate_is_replaced_and_kept_in_raw() {
    let event = json!({
        "type": "message", "channel": "C0GENERAL", "user": "U0ADA", "ts": "1795428000.000100",
        "text": "torn HALF", "blocks": [{ "text": "HALF" }],
    });
    let text = String::from_utf8(with_event(&event).to_vec()).expect("text");
    let body = Bytes::from(text.replace("HALF", r"\ud83d"));
    let outcome = handle(&body, &directory());
    let signal = &outcome.signals[0];
    assert_eq!(signal.normalized["text"], "torn \u{fffd}");
    assert_eq!(signal.subject.title.as_deref(), Some("torn \u{fffd}"));
    assert!(
        signal.raw.get().contains(r"torn \ud83d"),
        "{}",
        signal.raw.get()
    );
}

#[test]
fn slack_channel_id_changed_keeps_the_first_keys() {
    let change = json!({
        "type": "channel_id_changed", "old_channel_id": "G0OLD", "new_channel_id": "C0GENERAL",
    });
    let outcome = normalize_event(&change);
    assert_eq!(
        outcome.changes,
        [AccountChange::ResourceIdChanged {
            from: "G0OLD".to_owned(),
            to: "C0GENERAL".to_owned(),
        }]
    );
    let mut delivery = delivery(with_event(&changed_event(Some("1600000100.000000"), None)));
    delivery.account.note_resource_id("G0OLD", "C0GENERAL");
    let (slack, _) = connector("http://localhost:1", &[]);
    let outcome = slack
        .handle_webhook(&delivery, &directory())
        .expect("an outcome");
    let signal = &outcome.signals[0];
    assert_eq!(
        signal.dedupe_key,
        "slack:T0ACME:message:G0OLD:1600000000.000100:edited:1600000100.000000"
    );
    assert_eq!(signal.context.id, "G0OLD");
    assert_eq!(signal.context.name.as_deref(), Some("general"));
    assert!(
        signal
            .subject
            .url
            .as_deref()
            .is_some_and(|url| url.contains("/C0GENERAL/"))
    );
    // A second change still resolves to the first id.
    delivery.account.note_resource_id("C0GENERAL", "C0LATER");
    assert_eq!(delivery.account.first_id_of("C0LATER"), "G0OLD");
    assert_eq!(delivery.account.first_id_of("C0OTHER"), "C0OTHER");
}

#[test]
fn file_only_message_has_file_name_as_title() {
    for (file, title) in [
        (
            json!({ "id": "F1", "name": "plan.pdf", "title": "The plan" }),
            Some("plan.pdf"),
        ),
        (
            json!({ "id": "F1", "name": "", "title": "The plan" }),
            Some("The plan"),
        ),
        (json!({ "id": "F1" }), None),
    ] {
        let outcome = normalize_event(&json!({
            "type": "message", "subtype": "file_share", "channel": "C0GENERAL", "user": "U0ADA",
            "ts": "1795428000.000100", "text": "", "files": [file],
        }));
        let signal = &outcome.signals[0];
        assert_eq!(signal.subject.title.as_deref(), title);
        assert_eq!(signal.normalized["text"], Value::Null);
    }
}

#[test]
fn slackbot_and_apps_are_bots() {
    for (author, kind) in [
        (json!({ "user": "USLACKBOT" }), ActorKind::Bot),
        (json!({ "user": "U0BOT" }), ActorKind::Bot),
        (
            json!({ "bot_id": "B1", "username": "build" }),
            ActorKind::Bot,
        ),
        (json!({ "user": "U0ADA" }), ActorKind::User),
    ] {
        let mut event = json!({
            "type": "message", "channel": "C0GENERAL", "ts": "1795428000.000100", "text": "hi",
        });
        for (name, value) in author.as_object().expect("an object") {
            event[name] = value.clone();
        }
        let outcome = normalize_event(&event);
        assert_eq!(outcome.signals[0].actor.kind, kind, "{author}");
    }
}
