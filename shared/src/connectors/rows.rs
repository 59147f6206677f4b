//! Parsing a page row by row, so that an unreadable row does not affect the others.

use std::fmt::Display;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{id, lenient, read_json, text};
use super::{ConnectorError, SyncRequest, UnreadableRow};

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

    /// Returns the result of a call for the details of a row, or notes the row as unreadable.
    ///
    /// A temporary failure fails the page, until the page has failed several times.
    pub(super) fn take_details<T>(
        &mut self,
        request: &SyncRequest,
        row: &RawValue,
        details: Result<T, ConnectorError>,
    ) -> Result<Option<T>, ConnectorError> {
        match details {
            Err(error @ (ConnectorError::Denied { .. } | ConnectorError::Permanent(_))) => {
                Ok(self.take(row, Err(error)))
            }
            Err(error @ ConnectorError::Transient(_)) if request.skips_failing_parts() => {
                Ok(self.take(row, Err(error)))
            }
            other => other.map(Some),
        }
    }

    /// Adds the unreadable rows of another part of the page.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Returns whether every row was readable.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
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
