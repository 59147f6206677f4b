//! Rows that lack fields, or have them in an unusual form.

use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::context;
use crate::connectors::google_calendar::normalize::normalize_rows;
use crate::connectors::page::PageContent;

/// A meeting without a time of its last change.
fn meeting(created: &str) -> Value {
    json!({
        "id": "0a1b2c3d", "etag": "\"p32nsfe61kqioo0o\"", "status": "confirmed",
        "created": created, "summary": "Pump review",
        "attendees": [{ "email": "ada@example.com", "responseStatus": "accepted" }],
    })
}

fn normalize(row: &Value) -> PageContent {
    let row = to_raw_value(row).expect("JSON");
    normalize_rows(&context(), &[&row])
}

fn kinds(content: &PageContent) -> Vec<&str> {
    let signals = content.signals.iter();
    signals.map(|signal| signal.kind.as_str()).collect()
}

#[test]
fn creation_needs_no_time_of_change() {
    let created = normalize(&meeting("2026-11-20T09:00:00.000Z"));
    assert_eq!(kinds(&created), ["event_created"]);
    assert!(created.unreadable.is_empty());
}

#[test]
fn change_without_time_is_unreadable() {
    let changed = normalize(&meeting("2026-10-20T09:00:00.000Z"));
    assert!(changed.signals.is_empty());
    assert_eq!(changed.unreadable.into_rows().len(), 1);
}

#[test]
fn omitted_guests_are_not_counted() {
    let mut row = meeting("2026-11-20T09:00:00.000Z");
    for (is_cut, count) in [(false, json!(1)), (true, Value::Null)] {
        row["attendeesOmitted"] = json!(is_cut);
        let content = normalize(&row);
        let normalized = &content.signals[0].normalized;
        assert_eq!(normalized["attendees"], count);
        assert_eq!(normalized["responses"]["accepted"], count);
    }
}

#[test]
fn visibility_of_unknown_form_withholds_content() {
    let mut row = meeting("2026-11-20T09:00:00.000Z");
    for visibility in [json!(7), json!({}), json!(["public"]), json!("secret")] {
        row["visibility"] = visibility;
        let content = normalize(&row);
        let signal = &content.signals[0];
        assert_eq!(signal.subject.title, None);
        assert!(!signal.raw.get().contains("Pump review"));
    }
}
