//! Facts that a row of a response implies, and their rows in the ledger.
//!
//! Every fact follows from one row: a change of changes.list or a file of files.list. So the
//! ledger derives its rows from what the API shows now, for each person.

use std::collections::{BTreeMap, HashMap};

use chrono::DateTime;
use serde_json::Value;

use super::SOURCE;
use super::world::{FOLDER, SHORTCUT};
use crate::ledger::{Fact, Ledger};

/// Maximum time between the creation of a file and its first content.
const CREATION_MILLISECONDS: i64 = 60_000;

/// A fact of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowFact {
    pub(super) kind: &'static str,
    /// Dedupe key without the prefix of the provider.
    pub(super) key: String,
    /// Epoch milliseconds.
    pub(super) at: i64,
    /// Only changes.list shows it.
    pub(super) is_change_only: bool,
}

fn milliseconds(value: &Value) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(time.timestamp_millis())
}

/// Facts of a change, for the person with this permission id.
pub(super) fn of_change(change: &Value, permission_id: &str) -> Vec<RowFact> {
    let Some(id) = change["fileId"].as_str() else {
        return Vec::new();
    };
    let time = milliseconds(&change["time"]);
    if change["removed"] == true {
        if change["file"].is_object() {
            return Vec::new();
        }
        let text = change["time"].as_str().unwrap_or_default();
        return time
            .map(|at| RowFact {
                kind: "file_removed",
                key: format!("file:{id}:removed:{permission_id}:{text}"),
                at,
                is_change_only: true,
            })
            .into_iter()
            .collect();
    }
    of_file(&change["file"], permission_id, time)
}

/// Facts of a file, in a change of this time or in a list of files.
pub(super) fn of_file(file: &Value, permission_id: &str, change_time: Option<i64>) -> Vec<RowFact> {
    let Some(id) = file["id"].as_str() else {
        return Vec::new();
    };
    if file["mimeType"] == SHORTCUT {
        return Vec::new();
    }
    let mut facts = Vec::new();
    let mut add = |kind, key: String, at: i64, is_change_only| {
        facts.push(RowFact {
            kind,
            key: format!("file:{id}:{key}"),
            at,
            is_change_only,
        });
    };
    // The uploader chooses these times, so they may lie in the future.
    let capped = |at: i64| change_time.map_or(at, |time| at.min(time));
    let [created, modified] = ["createdTime", "modifiedTime"].map(|name| milliseconds(&file[name]));
    if let Some(created) = created {
        add("file_created", "created".to_owned(), capped(created), false);
    }
    if let (Some(created), Some(modified)) = (created, modified)
        && file["mimeType"] != FOLDER
        && modified - created > CREATION_MILLISECONDS
    {
        let text = file["modifiedTime"].as_str().unwrap_or_default();
        let key = format!("modified:{text}");
        add("file_updated", key, capped(modified), false);
    }
    if let Some(shared) = milliseconds(&file["sharedWithMeTime"]) {
        let text = file["sharedWithMeTime"].as_str().unwrap_or_default();
        let key = format!("shared:{permission_id}:{text}");
        add("file_shared", key, shared, false);
    }
    if file["trashed"] == true && file["explicitlyTrashed"] == true {
        match (milliseconds(&file["trashedTime"]), change_time) {
            (Some(trashed), _) => {
                let text = file["trashedTime"].as_str().unwrap_or_default();
                add("file_trashed", format!("trashed:{text}"), trashed, false);
            }
            (None, Some(time)) => add("file_trashed", "trashed".to_owned(), time, true),
            (None, None) => {}
        }
    }
    facts
}

/// A person, as the rows of the ledger name it.
pub(super) struct Viewer<'a> {
    pub(super) sub: &'a str,
    pub(super) container: u64,
}

struct KnownFact {
    seq: u64,
    is_change_only: bool,
    /// Position in the person's log.
    position: u64,
}

/// Facts that the API shows now, by person and file, and all facts by person and key.
#[derive(Default)]
pub(super) struct KnownFacts {
    shown: HashMap<(String, String), BTreeMap<String, KnownFact>>,
    rows: HashMap<(String, String), u64>,
}

impl KnownFacts {
    /// Replaces the facts of a file, and returns the ledger rows of new ones.
    ///
    /// Facts that only changes.list shows are on the API if `is_change_shown`.
    pub(super) fn replace(
        &mut self,
        ledger: &Ledger,
        viewer: &Viewer<'_>,
        file: &str,
        facts: Vec<RowFact>,
        position: u64,
        is_change_shown: bool,
    ) -> Vec<u64> {
        let subject = (viewer.sub.to_owned(), file.to_owned());
        let mut before = self.shown.remove(&subject).unwrap_or_default();
        let (mut after, mut new) = (BTreeMap::new(), Vec::new());
        for fact in facts {
            let known = before.remove(&fact.key);
            let seq = ledger.record(Fact {
                source: SOURCE,
                account: viewer.sub.to_owned(),
                kind: fact.kind,
                key: format!("{SOURCE}:{}", fact.key),
                at: fact.at.div_euclid(1_000),
                container: viewer.container,
                webhook: false,
                pollable: !fact.is_change_only || is_change_shown,
            });
            if known.is_none() {
                new.push(seq);
            }
            let row = (viewer.sub.to_owned(), fact.key.clone());
            self.rows.insert(row, seq);
            after.insert(
                fact.key,
                KnownFact {
                    seq,
                    is_change_only: fact.is_change_only,
                    position,
                },
            );
        }
        let gone: Vec<u64> = before.values().map(|known| known.seq).collect();
        ledger.hide(&gone);
        if !after.is_empty() {
            self.shown.insert(subject, after);
        }
        new
    }

    /// Hides facts of a person that only changes before a position have shown.
    pub(super) fn hide_changes_before(&self, ledger: &Ledger, sub: &str, position: u64) {
        let of_person = self.shown.iter().filter(|((person, _), _)| person == sub);
        let hidden: Vec<u64> = of_person
            .flat_map(|(_, facts)| facts.values())
            .filter(|known| known.is_change_only && known.position < position)
            .map(|known| known.seq)
            .collect();
        ledger.hide(&hidden);
    }

    /// Ledger rows of facts that a person has received.
    pub(super) fn rows<'a>(
        &'a self,
        sub: &'a str,
        facts: impl IntoIterator<Item = RowFact> + 'a,
    ) -> impl Iterator<Item = u64> + 'a {
        facts
            .into_iter()
            .filter_map(move |fact| self.rows.get(&(sub.to_owned(), fact.key)).copied())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(facts: &[RowFact]) -> Vec<(&str, &str)> {
        facts
            .iter()
            .map(|fact| (fact.kind, fact.key.as_str()))
            .collect()
    }

    #[test]
    fn row_implies_its_facts_only() {
        let file = json!({
            "id": "f", "mimeType": "text/plain", "trashed": true, "explicitlyTrashed": true,
            "createdTime": "2026-11-01T10:00:00.000Z",
            "modifiedTime": "2030-01-01T00:00:00.000Z",
            "sharedWithMeTime": "2026-11-02T10:00:00.000Z",
        });
        let change = json!({
            "fileId": "f", "removed": false, "time": "2026-11-03T10:00:00.000Z", "file": file,
        });
        let facts = of_change(&change, "P");
        assert_eq!(
            keys(&facts),
            [
                ("file_created", "file:f:created"),
                ("file_updated", "file:f:modified:2030-01-01T00:00:00.000Z"),
                ("file_shared", "file:f:shared:P:2026-11-02T10:00:00.000Z"),
                ("file_trashed", "file:f:trashed"),
            ]
        );
        let change_time = facts[3].at;
        assert_eq!(facts[1].at, change_time, "not later than the change");
        let listed = of_file(&change["file"], "P", None);
        assert_eq!(listed.len(), 3, "no time of the trashing");
    }

    #[test]
    fn removal_with_its_file_is_no_fact() {
        let time = "2026-11-03T10:00:00.000Z";
        let gone = json!({ "fileId": "f", "removed": true, "time": time });
        let key = format!("file:f:removed:P:{time}");
        assert_eq!(
            keys(&of_change(&gone, "P")),
            [("file_removed", key.as_str())]
        );
        let moved = json!({ "fileId": "f", "removed": true, "time": time, "file": { "id": "f" } });
        assert_eq!(of_change(&moved, "P"), []);
    }

    #[test]
    fn folders_and_shortcuts_have_no_updates() {
        let file = |mime_type: &str| {
            json!({
                "id": "f", "mimeType": mime_type, "createdTime": "2026-11-01T10:00:00.000Z",
                "modifiedTime": "2026-11-01T10:01:00.001Z",
            })
        };
        assert_eq!(of_file(&file("text/plain"), "P", None).len(), 2);
        assert_eq!(of_file(&file(FOLDER), "P", None).len(), 1);
        assert_eq!(of_file(&file(SHORTCUT), "P", None), []);
    }
}
