//! Parsing a page row by row, so that an unreadable row does not affect the others.

use std::fmt::Display;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::UnreadableRow;
use super::wire::{id, lenient, read_json, text};

/// Unreadable rows of a page.
#[derive(Debug, Default)]
pub(super) struct UnreadableRows(Vec<UnreadableRow>);

impl UnreadableRows {
    /// Returns the result of parsing a row, or notes the row as unreadable.
    pub(super) fn take<T, E: Display>(
        &mut self,
        row: &RawValue,
        result: Result<T, E>,
    ) -> Option<T> {
        result
            .inspect_err(|error| self.0.push(unreadable(row, error)))
            .ok()
    }

    /// Parses all rows and returns the readable ones, each with its raw JSON.
    pub(super) fn read_all<'r, T, E: Display>(
        &mut self,
        rows: impl IntoIterator<Item = &'r RawValue>,
        read: impl Fn(&'r RawValue) -> Result<T, E>,
    ) -> Vec<(T, &'r RawValue)> {
        rows.into_iter()
            .filter_map(|row| Some((self.take(row, read(row))?, row)))
            .collect()
    }

    /// Adds the unreadable rows of another part of the page.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Returns whether every row was readable.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the provider's ids of the rows that have a readable one.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|row| row.id.as_deref())
    }

    /// Returns the rows.
    pub(super) fn into_rows(self) -> Vec<UnreadableRow> {
        self.0
    }
}

fn unreadable(row: &RawValue, error: &impl Display) -> UnreadableRow {
    /// Fields by which providers identify rows.
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
        reason: error.to_string(),
    }
}
