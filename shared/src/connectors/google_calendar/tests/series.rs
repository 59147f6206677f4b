//! Series: which rows are one fact, and which row describes it.

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::{context, normalize_page, page};
use crate::connectors::google_calendar::normalize::normalize_rows;
use crate::model::SignalDraft;

const SERIES: &str = "c2k8m4p1s6t0v3a7e9g5i1n4r8";

fn key(rest: &str) -> String {
    format!("google_calendar:ada@example.com:event:{rest}")
}

fn signals(name: &str) -> Vec<SignalDraft> {
    normalize_page(&context(), &page(name)).signals
}

fn dedupe_keys(name: &str) -> Vec<String> {
    let signals = signals(name).into_iter();
    signals.map(|signal| signal.dedupe_key).collect()
}

#[test]
fn edited_series_is_described_by_itself() {
    let updates: Vec<SignalDraft> = signals("series.edited")
        .into_iter()
        .filter(|signal| signal.kind.as_str() == "event_updated")
        .collect();
    assert_eq!(updates.len(), 1);
    assert_eq!(
        updates[0].dedupe_key,
        key(&format!("{SERIES}:updated:2026-11-23T10:52:14.082Z"))
    );
    assert_eq!(updates[0].subject.id, SERIES);
    assert_eq!(updates[0].normalized["recurring"], true);
    assert_eq!(updates[0].normalized["series_id"], Value::Null);
}

#[test]
fn later_part_is_no_creation() {
    let updated = key(&format!("{SERIES}:updated:2026-11-23T10:52:14.082Z"));
    assert_eq!(dedupe_keys("series.part"), [updated]);
    let part = signals("series.part").remove(0);
    assert_eq!(part.subject.id, format!("{SERIES}_R20261201T090000"));
    assert_eq!(part.normalized["series_id"], SERIES);
}

#[test]
fn single_invitation_has_its_own_signal() {
    let updated = |series: &str| key(&format!("{series}:updated:2026-11-23T10:52:14.082Z"));
    let other = format!("zz{SERIES}");
    let expected = [updated(SERIES), updated(&other)];
    assert_eq!(dedupe_keys("series.invited_once"), expected);
}

#[test]
fn deleted_instance_cancels_itself_and_changes_its_series() {
    let deleted = |day: &str| key(&format!("{SERIES}_202611{day}T090000Z:cancelled"));
    let expected = [
        key(&format!("{SERIES}:created")),
        key(&format!("{SERIES}:updated:2026-11-23T11:00:00.176Z")),
        deleted("25"),
        deleted("27"),
    ];
    assert_eq!(dedupe_keys("series.instance_deleted"), expected);
}

#[test]
fn rows_on_two_pages_have_one_key() {
    let page: Value = serde_json::from_slice(&page("series.edited")).expect("JSON");
    let rows = page["items"].as_array().expect("rows");
    let updates = |rows: &[Value]| -> Vec<String> {
        let rows: Vec<Box<RawValue>> = rows
            .iter()
            .map(|row| to_raw_value(row).expect("JSON"))
            .collect();
        let rows: Vec<&RawValue> = rows.iter().map(AsRef::as_ref).collect();
        let signals = normalize_rows(&context(), &rows).signals.into_iter();
        signals
            .map(|signal| signal.dedupe_key)
            .filter(|key| key.contains(":updated:"))
            .collect()
    };
    for at in 1..rows.len() {
        let (first, second) = rows.split_at(at);
        assert_eq!(updates(first), updates(second), "split at {at}");
    }
}
