//! Snapshot tests: the Signals of each page are in the `.snap` file beside it.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{ALL_PAGES, context, normalize_page, page};
use crate::connectors::google_calendar::normalize::KINDS;
use crate::connectors::google_calendar::wire::Event;
use crate::connectors::page::PageContent;
use crate::model::SignalDraft;

/// Serializes a Signal for its snapshot.
///
/// Asserts that `raw` is the row, or the part of it that is not private.
fn serialize(signal: &SignalDraft, body: &Bytes) -> Value {
    let text = std::str::from_utf8(body).expect("pages are text");
    let mut value = serde_json::to_value(signal).expect("a Signal is JSON");
    let raw = value["raw"].take();
    let event: Event = serde_json::from_value(raw.clone()).expect("an event");
    assert_eq!(
        text.contains(signal.raw.get()),
        !event.is_private(),
        "raw is the provider's own bytes"
    );
    value["raw"] = json!({ "fields": raw.as_object().map(serde_json::Map::len) });
    value
}

fn snapshot(content: PageContent, body: &Bytes) -> Value {
    let signals = content.signals.iter();
    let unreadable = content.unreadable.into_rows().into_iter();
    json!({
        "signals": signals.map(|signal| serialize(signal, body)).collect::<Vec<_>>(),
        "unreadable": unreadable.map(|row| json!([row.id, row.reason])).collect::<Vec<_>>(),
    })
}

#[test]
fn pages_match_their_snapshots() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../fixtures");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for name in ALL_PAGES {
        let body = page(name);
        let content = normalize_page(&context(), &body);
        settings.bind(|| insta::assert_json_snapshot!(*name, snapshot(content, &body)));
    }
}

#[test]
fn every_emitted_kind_has_a_page() {
    let covered: BTreeSet<&str> = ALL_PAGES
        .iter()
        .flat_map(|name| normalize_page(&context(), &page(name)).signals)
        .map(|signal| signal.kind.as_str())
        .collect();
    assert_eq!(covered, KINDS.iter().map(|kind| kind.as_str()).collect());
}
