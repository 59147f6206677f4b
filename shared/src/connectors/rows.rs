//! Reading a page row by row: one that cannot be read costs no other.

use std::fmt::Display;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::UnreadableRow;
use super::wire::{id, lenient, read_json, text};

/// The rows of a page that could not be read.
#[derive(Debug, Default)]
pub(super) struct UnreadableRows(Vec<UnreadableRow>);

impl UnreadableRows {
    /// What reading a row gave; notes the row if that is an error.
    pub(super) fn take<T, E: Display>(
        &mut self,
        row: &RawValue,
        result: Result<T, E>,
    ) -> Option<T> {
        result
            .inspect_err(|error| self.0.push(unreadable(row, error)))
            .ok()
    }

    /// Reads every row, and keeps those that can be read, each with its bytes.
    pub(super) fn read_all<'r, T, E: Display>(
        &mut self,
        rows: impl IntoIterator<Item = &'r RawValue>,
        read: impl Fn(&'r RawValue) -> Result<T, E>,
    ) -> Vec<(T, &'r RawValue)> {
        rows.into_iter()
            .filter_map(|row| Some((self.take(row, read(row))?, row)))
            .collect()
    }

    /// Adds those of another part of the page.
    pub(super) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Whether every row could be read.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the page tells of them.
    pub(super) fn into_rows(self) -> Vec<UnreadableRow> {
        self.0
    }
}

fn unreadable(row: &RawValue, why: &impl Display) -> UnreadableRow {
    /// What providers identify rows by.
    #[derive(Default, Deserialize)]
    struct Identity {
        #[serde(default, deserialize_with = "id")]
        id: Option<String>,
        #[serde(default, deserialize_with = "text")]
        ts: Option<String>,
        #[serde(default, deserialize_with = "lenient")]
        user: Option<Box<Identity>>,
    }
    let identity: Identity = read_json(row.get()).unwrap_or_default();
    UnreadableRow {
        id: identity
            .id
            .or(identity.ts)
            .or_else(|| identity.user.and_then(|user| user.id)),
        row: row.get().to_owned(),
        reason: why.to_string(),
    }
}
