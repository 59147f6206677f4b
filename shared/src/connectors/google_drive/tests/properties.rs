//! Property tests of arbitrary and changed rows.

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::golden::normalize;
use super::{account, directory, floor};
use crate::connectors::google_drive::normalize::NormalizeContext;
use crate::connectors::testing::{json, payloads, remove_at, replace_at, value};

/// Field names of Drive's rows.
const NAMES: &[&str] = &[
    "changeType",
    "time",
    "removed",
    "fileId",
    "driveId",
    "file",
    "id",
    "name",
    "mimeType",
    "size",
    "trashed",
    "explicitlyTrashed",
    "trashedTime",
    "trashingUser",
    "createdTime",
    "modifiedTime",
    "sharedWithMeTime",
    "sharingUser",
    "owners",
    "lastModifyingUser",
    "permissionId",
    "displayName",
    "emailAddress",
    "webViewLink",
];

fn keys(name: &str, row: &Value) -> Option<Vec<String>> {
    let row = row.to_string();
    let signals = normalize(name, row.as_bytes(), &directory()).ok()?;
    Some(signals.into_iter().map(|one| one.dedupe_key).collect())
}

proptest! {
    #[test]
    fn changed_rows_do_not_panic(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 0..5),
        with in value(),
    ) {
        let all = payloads("google_drive");
        let (name, row) = &all[which.index(all.len())];
        let mut row: Value = serde_json::from_slice(row).expect("JSON");
        replace_at(&mut row, &path, &with);
        for key in keys(name, &row).unwrap_or_default() {
            prop_assert!(key.starts_with("google_drive:file:"), "{key}");
        }
    }

    #[test]
    fn arbitrary_json_does_not_panic(row in json(NAMES)) {
        for name in ["change", "file"] {
            keys(name, &row);
        }
    }

    #[test]
    fn missing_field_changes_no_dedupe_key(
        which in any::<prop::sample::Index>(),
        path in prop::collection::vec(0_usize..20, 1..5),
    ) {
        let all = payloads("google_drive");
        let (name, row) = &all[which.index(all.len())];
        let mut row: Value = serde_json::from_slice(row).expect("JSON");
        let whole = keys(name, &row).unwrap_or_default();
        let removed = remove_at(&mut row, &path);
        // Without its type a shortcut or a folder is a file; without the time of trashing a file of
        // a shared drive is one of My Drive; a removal without its file is final, and without its
        // flag it is a change.
        prop_assume!(!matches!(
            removed.as_deref(),
            Some("mimeType" | "trashedTime" | "file" | "changeType" | "removed")
        ));
        for key in keys(name, &row).unwrap_or_default() {
            prop_assert!(whole.contains(&key), "{removed:?}: {key} in place of {whole:?}");
        }
    }

    #[test]
    fn later_floor_keeps_a_part_of_the_facts(days in 0_i64..2_000) {
        let (account, directory) = (account(), directory());
        let later = floor() + TimeDelta::days(days);
        let context = NormalizeContext::new(&account, &directory, later).expect("a context");
        for (name, row) in payloads("google_drive") {
            let all: Value = serde_json::from_slice(&row).expect("JSON");
            let text = all.to_string();
            let raw: &serde_json::value::RawValue = serde_json::from_str(&text).expect("JSON");
            let reported = if name.starts_with("change") {
                serde_json::from_str(&text).ok().and_then(|change| context.change(&change, raw).ok())
            } else {
                serde_json::from_str(&text).ok().and_then(|file| context.file(&file, raw).ok())
            };
            let whole = keys(&name, &all).unwrap_or_default();
            for signal in reported.unwrap_or_default() {
                prop_assert!(whole.contains(&signal.dedupe_key), "{name}");
            }
        }
    }

    #[test]
    fn same_fact_has_one_key_on_both_paths(
        created in 0_i64..40, modified in 0_i64..40, shared in prop::option::of(0_i64..40),
    ) {
        let day = |days: i64| (floor() + TimeDelta::days(days - 10)).to_rfc3339();
        let mut file = json!({
            "id": "1", "mimeType": "text/plain", "createdTime": day(created),
            "modifiedTime": day(modified),
        });
        if let Some(days) = shared {
            file["sharedWithMeTime"] = json!(day(days));
        }
        let change = json!({ "changeType": "file", "fileId": "1", "time": day(50), "file": file });
        prop_assert_eq!(keys("file", &file), keys("change", &change));
    }
}
