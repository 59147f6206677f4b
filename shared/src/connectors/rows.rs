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
    UnreadableRow {
        id: id_of(row),
        row: row.get().to_owned(),
        reason: error.to_string(),
    }
}

/// The id of a row, by the first field that it has of those by which providers identify rows.
fn id_of(row: &RawValue) -> Option<String> {
    /// The narrowest first: a mail names its folder too, a channel its chat.
    #[derive(Default, Deserialize)]
    struct Identity {
        #[serde(default, deserialize_with = "id")]
        id: Option<String>,
        #[serde(default, deserialize_with = "text")]
        ts: Option<String>,
        #[serde(rename = "messageIdString", default, deserialize_with = "id")]
        exact_message: Option<String>,
        #[serde(rename = "messageId", default, deserialize_with = "id")]
        message: Option<String>,
        #[serde(rename = "folderId", default, deserialize_with = "id")]
        folder: Option<String>,
        #[serde(rename = "channel_id", default, deserialize_with = "id")]
        channel: Option<String>,
        #[serde(rename = "chat_id", default, deserialize_with = "id")]
        chat: Option<String>,
        #[serde(default, deserialize_with = "lenient")]
        user: Option<Box<Identity>>,
    }
    let is_object = row.get().starts_with('{');
    let row: Option<Identity> = is_object.then(|| read_json(row.get()).ok()).flatten();
    let row = row.unwrap_or_default();
    row.id
        .or(row.ts)
        .or(row.exact_message)
        .or(row.message)
        .or(row.folder)
        .or(row.channel)
        .or(row.chat)
        .or_else(|| row.user.and_then(|user| user.id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    #[test]
    fn row_is_identified_by_its_narrowest_id() {
        for (row, id) in [
            (json!({ "id": 7, "user": { "id": 8 } }), Some("7")),
            (json!({ "ts": "1.2", "user": { "id": 8 } }), Some("1.2")),
            (json!({ "user": { "id": 8 } }), Some("8")),
            (
                json!({ "messageId": "1785032043525110001", "folderId": "3881227000000013000" }),
                Some("1785032043525110001"),
            ),
            (
                json!({ "messageId": 1_785_032_043_525_110_001_u64 }),
                Some("1785032043525110001"),
            ),
            (
                json!({ "messageIdString": "1785032043525110001", "messageId": 1_785_032_043_525_110_000_u64 }),
                Some("1785032043525110001"),
            ),
            (
                json!({ "folderId": "3881227000000013000" }),
                Some("3881227000000013000"),
            ),
            (json!({ "channel_id": "O1", "chat_id": "CT_1" }), Some("O1")),
            (json!({ "chat_id": "CT_1" }), Some("CT_1")),
            (
                json!({ "chat_id": 7, "messageId": {}, "id": null }),
                Some("7"),
            ),
            (json!({ "text": "Hi" }), None),
            (json!([1]), None),
        ] {
            let row = to_raw_value(&row).expect("JSON");
            assert_eq!(id_of(&row).as_deref(), id, "{row}");
        }
    }
}
