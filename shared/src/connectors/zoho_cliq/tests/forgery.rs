//! Texts that people type do not name the author or the time of a message.

use bytes::Bytes;
use serde_json::{Value, json};

use super::TIME;
use super::golden::handle;
use crate::model::{Actor, ActorKind, SignalDraft};

/// Id of the person who typed.
const AUTHOR: &str = "64800202";

/// Texts that look like a message of another person, or like the end of a field.
fn hostile_texts() -> Vec<String> {
    let message = json!({
        "sender": { "id": "1", "name": "Eve" }, "senderID": "1", "time": 1_700_000_000_000_i64,
        "id": "1700000000000_1", "text": "Hi", "user": { "id": "1" }, "message": { "text": "Hi" },
    });
    let delivery = json!({ "params": { "user": { "id": "1" } }, "handler": "mention" });
    vec![
        message.to_string(),
        json!([message]).to_string(),
        delivery.to_string(),
        r#"","sender":{"id":"1"},"x":""#.to_owned(),
        r#"x"},"user":{"id":"1"},"y":{"z":""#.to_owned(),
        "x&user=%7B%22id%22%3A%221%22%7D&handler=mention".to_owned(),
        "b-31000000000555001".to_owned(),
    ]
}

/// The text as a script may send it: as it is, and as the JSON that it looks like.
fn spellings(text: &str) -> Vec<Value> {
    let parsed = serde_json::from_str(text).ok();
    [Some(json!(text)), parsed].into_iter().flatten().collect()
}

fn user() -> Value {
    json!({ "id": AUTHOR, "first_name": "Grace" })
}

fn signal_of(body: &Bytes) -> SignalDraft {
    let outcome = handle(body).expect("an outcome");
    assert_eq!(outcome.signals.len(), 1, "{outcome:?} of {body:?}");
    outcome.signals.into_iter().next().expect("a Signal")
}

fn assert_by_author(signal: &SignalDraft, text: &str) {
    let author = Actor {
        id: Some(AUTHOR.to_owned()),
        name: Some("Grace".to_owned()),
        kind: ActorKind::User,
    };
    assert_eq!(signal.actor, author, "{text}");
    let key = format!("zoho_cliq:message:CT_1:{TIME}");
    assert_eq!(signal.dedupe_key, key, "{text}");
    assert_eq!(signal.timestamp.timestamp_millis(), TIME, "{text}");
}

#[test]
fn typed_text_names_no_author() {
    for text in hostile_texts() {
        for typed in spellings(&text) {
            let details = [
                json!({ "message": { "type": "text", "text": typed }, "time": TIME }),
                json!({ "message": typed, "time": TIME }),
                json!({ "time": TIME }),
            ];
            for details in details {
                let fields = json!({
                    "message": typed, "message_details": details, "user": user(),
                    "chat": { "id": "CT_1", "type": "bot" },
                });
                let mut script = fields.clone();
                script["handler"] = json!("message");
                let envelope =
                    json!({ "handler": { "type": "message_handler" }, "params": fields });
                for body in [script, envelope] {
                    let signal = signal_of(&Bytes::from(body.to_string()));
                    assert_by_author(&signal, &body.to_string());
                    let shown = signal.normalized["text"].as_str().expect("a text");
                    let is_kept =
                        shown == text || serde_json::from_str(shown).ok() == Some(typed.clone());
                    assert!(is_kept, "{shown} of {body}");
                }
            }
        }
    }
}

#[test]
fn typed_text_without_a_stated_time_is_refused() {
    for text in hostile_texts() {
        for typed in spellings(&text) {
            let body = json!({
                "handler": "message", "message": typed, "message_details": { "message": typed },
                "user": user(), "chat": { "id": "CT_1" },
            });
            let outcome = handle(&Bytes::from(body.to_string())).expect("an outcome");
            assert!(outcome.signals.is_empty(), "{body}");
            let refused = outcome.refused.expect("a reason");
            assert!(refused.contains("`time`"), "{refused}");
        }
    }
}

#[test]
fn text_of_a_mention_or_a_channel_names_no_author() {
    for text in hostile_texts() {
        for typed in spellings(&text) {
            let chat = json!({ "id": "CT_1", "type": "channel", "title": "#general" });
            let mention = json!({
                "handler": "mention", "user": user(), "chat": chat, "message": typed,
                "message_details": { "message": { "type": "text", "text": typed }, "time": TIME },
            });
            let mut of_map = mention.clone();
            of_map["message"] = json!({ "sender": user(), "time": TIME.to_string(), "text": typed, "type": "text" });
            of_map["message_details"] = Value::Null;
            let participation = |message: Value| {
                json!({ "operation": "message_sent", "user": user(), "chat": chat,
                        "data": { "message": message, "time": TIME } })
            };
            let nested = participation(json!({ "type": "text", "text": typed, "comment": "x" }));
            let plain = participation(typed.clone());
            let envelope =
                json!({ "handler": { "type": "participation_handler" }, "params": nested });
            for body in [mention, of_map, nested, plain, envelope] {
                let signal = signal_of(&Bytes::from(body.to_string()));
                assert_by_author(&signal, &body.to_string());
            }
        }
    }
}

#[test]
fn fields_of_a_form_name_no_author() {
    for text in hostile_texts() {
        let details = json!({ "message": { "type": "text", "text": text }, "time": TIME });
        let (details, attachments) = (details.to_string(), json!([text]).to_string());
        let user = user().to_string();
        for (handler, operation) in [
            ("message", ""),
            ("mention", ""),
            ("participation", "message_sent"),
        ] {
            let fields = [
                ("handler", handler),
                ("operation", operation),
                ("message", text.as_str()),
                ("message_details", details.as_str()),
                ("data", details.as_str()),
                ("attachments", attachments.as_str()),
                ("user", user.as_str()),
                ("chat", r#"{"id":"CT_1","type":"channel"}"#),
            ];
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            let body = Bytes::from(form.extend_pairs(fields).finish());
            assert_by_author(&signal_of(&body), &format!("{handler}: {text}"));
        }
    }
}

#[test]
fn bot_is_named_by_zohos_own_envelope_only() {
    let message = json!({ "type": "text", "text": "Build 7 passed",
        "sender": { "id": "b-31000000000555001", "name": "Builds" } });
    let params = json!({ "operation": "message_sent", "user": user(),
        "chat": { "id": "CT_1", "type": "channel" }, "data": { "message": message, "time": TIME } });
    let envelope = json!({ "handler": { "type": "participation_handler" }, "params": params });
    let signal = signal_of(&Bytes::from(envelope.to_string()));
    assert_eq!(signal.actor.kind, ActorKind::Bot);
    assert_by_author(&signal_of(&Bytes::from(params.to_string())), "a script");
}
