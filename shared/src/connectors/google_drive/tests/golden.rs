//! Snapshot tests: the outcome of each row is in the `.snap` file beside it.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{account, directory, floor};
use crate::connectors::google_drive::normalize::{KINDS, NormalizeContext};
use crate::connectors::google_drive::wire::{WireError, read};
use crate::connectors::testing::{kinds, snapshots};
use crate::connectors::{Directory, WebhookOutcome};
use crate::model::SignalDraft;

/// Normalizes a row of a log (`change.…`) or of a list (`file.…`).
pub(super) fn normalize(
    name: &str,
    row: &[u8],
    directory: &Directory,
) -> Result<Vec<SignalDraft>, WireError> {
    let account = account();
    let context = NormalizeContext::new(&account, directory, floor())?;
    let raw: &RawValue = serde_json::from_slice(row).map_err(|_| WireError::NotAnObject)?;
    if name.starts_with("change") {
        context.change(&read("change", raw)?, raw)
    } else {
        context.file(&read("file", raw)?, raw)
    }
}

fn handle(name: &str, row: &Bytes) -> WebhookOutcome {
    WebhookOutcome::from_signals(normalize(name, row.trim_ascii(), &directory()))
}

#[test]
fn rows_match_their_snapshots() {
    snapshots("google_drive", handle);
}

#[test]
fn every_emitted_kind_has_a_row() {
    let covered = kinds("google_drive", handle);
    assert_eq!(covered, KINDS.iter().map(|kind| kind.as_str()).collect());
}
