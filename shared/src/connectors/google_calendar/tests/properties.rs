//! Property tests of arbitrary and changed rows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::{ALL_PAGES, context, page};
use crate::connectors::google_calendar::normalize::{NormalizeContext, normalize_rows};
use crate::connectors::testing::{json, remove_at, replace_at, value};
use crate::model::{SignalDraft, SignalKind};

/// Field names of events.
const NAMES: &[&str] = &[
    "id",
    "etag",
    "status",
    "eventType",
    "created",
    "updated",
    "summary",
    "visibility",
    "creator",
    "email",
    "start",
    "end",
    "date",
    "dateTime",
    "recurrence",
    "recurringEventId",
    "originalStartTime",
    "attendees",
];

/// The rows of all pages.
fn all_rows() -> Vec<Value> {
    let rows = |name: &&str| {
        let page: Value = serde_json::from_slice(&page(name)).expect("JSON");
        page["items"].as_array().expect("rows").clone()
    };
    ALL_PAGES.iter().flat_map(rows).collect()
}

fn raw(row: &Value) -> Box<RawValue> {
    to_raw_value(row).expect("JSON")
}

fn normalize(context: &NormalizeContext<'_>, rows: &[Value]) -> Vec<SignalDraft> {
    let rows: Vec<Box<RawValue>> = rows.iter().map(raw).collect();
    let rows: Vec<&RawValue> = rows.iter().map(AsRef::as_ref).collect();
    normalize_rows(context, &rows).signals
}

fn keys(signals: &[SignalDraft]) -> BTreeSet<String> {
    let keys = signals.iter();
    keys.map(|signal| signal.dedupe_key.clone()).collect()
}

fn row() -> impl Strategy<Value = Value> {
    prop::sample::select(all_rows())
}

proptest! {
    #[test]
    fn changed_rows_do_not_panic(
        mut row in row(),
        path in prop::collection::vec(0_usize..24, 0..5),
        with in value(),
    ) {
        replace_at(&mut row, &path, &with);
        for signal in normalize(&context(), &[row]) {
            prop_assert!(signal.dedupe_key.starts_with("google_calendar:ada@example.com:event:"));
        }
    }

    #[test]
    fn arbitrary_json_does_not_panic(row in json(NAMES)) {
        normalize(&context(), &[row]);
    }

    #[test]
    fn missing_field_changes_no_dedupe_key(
        row in row(),
        path in prop::collection::vec(0_usize..24, 1..4),
    ) {
        let mut less = row.clone();
        let removed = remove_at(&mut less, &path).unwrap_or_default();
        // Without these fields it is another row.
        let defining = ["status", "eventType", "recurringEventId"];
        prop_assume!(!defining.contains(&removed.as_str()));
        let whole = keys(&normalize(&context(), &[row]));
        for key in keys(&normalize(&context(), &[less])) {
            // The etag has the same time, but not the decision of the floor on a shell.
            let is_shell = removed == "etag" && key.ends_with(":cancelled");
            prop_assert!(is_shell || whole.contains(&key), "without {removed}: {key}");
        }
    }

    #[test]
    fn no_fact_precedes_the_floor(rows in prop::collection::vec(row(), 0..8), hours in 0_i64..2_000) {
        let floor = context().floor + chrono::TimeDelta::hours(hours - 1_000);
        let from = NormalizeContext { floor, ..context() };
        for signal in normalize(&from, &rows) {
            prop_assert!(signal.timestamp >= floor || signal.timestamp == from.received_at);
        }
    }

    #[test]
    fn later_floor_only_removes_facts(rows in prop::collection::vec(row(), 0..8), hours in 0_i64..2_000) {
        let floor = context().floor + chrono::TimeDelta::hours(hours);
        let later = normalize(&NormalizeContext { floor, ..context() }, &rows);
        prop_assert!(keys(&later).is_subset(&keys(&normalize(&context(), &rows))));
    }

    #[test]
    fn pages_and_order_change_no_identity(
        rows in prop::collection::vec(row(), 1..10).prop_shuffle(),
        at in any::<prop::sample::Index>(),
    ) {
        let together = normalize(&context(), &rows);
        let (first, second) = rows.split_at(at.index(rows.len()));
        let mut apart = keys(&normalize(&context(), first));
        apart.extend(keys(&normalize(&context(), second)));
        prop_assert_eq!(keys(&together), apart);
    }

    #[test]
    fn page_has_one_signal_per_changed_series(rows in prop::collection::vec(row(), 1..12)) {
        let mut updates: BTreeMap<String, usize> = BTreeMap::new();
        for signal in normalize(&context(), &rows) {
            if signal.kind == SignalKind::EventUpdated {
                *updates.entry(signal.dedupe_key).or_default() += 1;
            }
        }
        prop_assert!(updates.values().all(|count| *count == 1));
    }

    #[test]
    fn private_content_is_in_no_signal(mut row in row(), secret in "[a-z]{12}", confidential in any::<bool>()) {
        let Some(members) = row.as_object_mut() else {
            return Ok(());
        };
        let visibility = if confidential { "confidential" } else { "private" };
        members.insert("visibility".to_owned(), visibility.into());
        for name in ["summary", "description", "location", "attendees", "attachments", "hangoutLink"] {
            members.insert(name.to_owned(), secret.clone().into());
        }
        let row = raw(&row);
        let content = normalize_rows(&context(), &[&row]);
        for signal in content.signals {
            let text = serde_json::to_string(&signal).expect("JSON");
            prop_assert!(!text.contains(&secret), "{text}");
        }
        for row in content.unreadable.into_rows() {
            prop_assert!(!row.row.contains(&secret), "{}", row.row);
        }
    }
}
