//! Types of Gmail's JSON and of Pub/Sub's pushes.
//!
//! Deserialization is lenient: a field that is not of the documented form counts as missing.
//! `normalize` checks the fields that a Signal requires.
//!
//! Sources: "Gmail API" and "Receive messages from push subscriptions" at developers.google.com
//! and docs.cloud.google.com.

mod push;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

pub(super) use push::{Push, to_route};

pub(super) use crate::connectors::mail_header::{Mailbox, decode_text, parse_mailboxes};
pub(super) use crate::connectors::wire::WireError;
use crate::connectors::wire::{id, lenient, or_default, plausible, read_json, rows, text};

/// Label of a message that was sent from the mailbox.
pub(super) const SENT: &str = "SENT";
/// Labels of messages that are not facts: unsent, unwanted, or of Google's former chat.
const IGNORED: [&str; 3] = ["DRAFT", "SPAM", "CHAT"];

/// Fields of a message that are kept, beside its headers.
const KEPT: [&str; 5] = ["id", "threadId", "labelIds", "historyId", "internalDate"];

/// Whether a message with these labels is not a fact.
pub(super) fn is_ignored(labels: &[String]) -> bool {
    labels.iter().any(|label| IGNORED.contains(&label.as_str()))
}

/// A message without its body.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Message {
    #[serde(default, deserialize_with = "text")]
    pub(super) id: Option<String>,
    #[serde(rename = "threadId", default, deserialize_with = "text")]
    pub(super) thread_id: Option<String>,
    #[serde(rename = "labelIds", default, deserialize_with = "rows")]
    pub(super) labels: Vec<String>,
    /// When Gmail accepted it, in milliseconds.
    #[serde(rename = "internalDate", default, deserialize_with = "id")]
    internal_date: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    payload: Payload,
}

#[derive(Debug, Default, Deserialize)]
struct Payload {
    #[serde(default, deserialize_with = "rows")]
    headers: Vec<Header>,
}

#[derive(Debug, Deserialize)]
struct Header {
    name: String,
    value: String,
}

impl Message {
    /// Deserializes a message.
    pub(super) fn parse(raw: &RawValue) -> Result<Self, WireError> {
        let is_object = raw.get().starts_with('{');
        is_object
            .then(|| read_json(raw.get()).ok())
            .flatten()
            .ok_or(WireError::NotAnObject)
    }

    /// When Gmail accepted the message. The `Date` header is the sender's, so it is not used.
    pub(super) fn received_at(&self) -> Option<DateTime<Utc>> {
        let milliseconds = self.internal_date.as_deref()?.parse().ok()?;
        plausible(DateTime::from_timestamp_millis(milliseconds)?)
    }

    /// The values of a header, whose name is spelled in any case.
    pub(super) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = move |header: &&Header| header.name.trim().eq_ignore_ascii_case(name);
        let found = self.payload.headers.iter().filter(named);
        found.map(|header| header.value.trim())
    }

    /// The first value of a header that is not empty.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).find(|value| !value.is_empty())
    }
}

/// The message as received, without fields that were not requested.
///
/// Google sends no such fields. If it did, the text of a mail, or its beginning (`snippet`), must not
/// reach the feed.
pub(super) fn without_content(message: Box<RawValue>) -> Result<Box<RawValue>, serde_json::Error> {
    const PAYLOAD: &str = "payload";
    const HEADERS: &str = "headers";
    let mut fields: Map<String, Value> = read_json(message.get()).unwrap_or_default();
    let is_kept = |name: &str| name == PAYLOAD || KEPT.contains(&name);
    let has_headers_only = match fields.get(PAYLOAD) {
        Some(Value::Object(payload)) => payload.keys().all(|name| name == HEADERS),
        payload => payload.is_none(),
    };
    if !fields.is_empty() && has_headers_only && fields.keys().all(|name| is_kept(name)) {
        return Ok(message);
    }
    fields.retain(|name, _| is_kept(name));
    if let Some(payload) = fields.get_mut(PAYLOAD) {
        let headers = payload.get_mut(HEADERS).map(Value::take);
        *payload = Value::from_iter(headers.map(|headers| (HEADERS, headers)));
    }
    to_raw_value(&fields)
}

/// A page of the list of messages, newest first.
#[derive(Debug, Default, Deserialize)]
pub(super) struct MessageList {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) messages: Vec<Box<RawValue>>,
    /// An estimate, which also an empty list has.
    #[serde(rename = "resultSizeEstimate", default, deserialize_with = "lenient")]
    pub(super) estimate: Option<u64>,
    #[serde(rename = "nextPageToken", default, deserialize_with = "text")]
    pub(super) next_page: Option<String>,
}

/// Reads the id of a message in a list.
pub(super) fn read_message_id(raw: &RawValue) -> Result<String, WireError> {
    let message: MessageRef = read_json(raw.get()).map_err(|_| WireError::NotAnObject)?;
    message.id.ok_or(WireError::Missing("id"))
}

/// A message in a list.
#[derive(Debug, Default, Deserialize)]
struct MessageRef {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    /// The message's present labels; only the history has them.
    #[serde(rename = "labelIds", default, deserialize_with = "rows")]
    labels: Vec<String>,
}

/// A page of the mailbox's history, oldest first.
///
/// A page may have no records and still a next page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct History {
    #[serde(rename = "history", default, deserialize_with = "or_default")]
    pub(super) records: Vec<Box<RawValue>>,
    #[serde(rename = "nextPageToken", default, deserialize_with = "text")]
    pub(super) next_page: Option<String>,
    /// The mailbox's present position.
    #[serde(rename = "historyId", default, deserialize_with = "id")]
    pub(super) position: Option<String>,
}

/// A change of the mailbox. The field `messages` repeats what the typed lists say.
#[derive(Debug, Deserialize)]
struct HistoryRecord {
    #[serde(rename = "messagesAdded", default, deserialize_with = "rows")]
    added: Vec<Change>,
    #[serde(rename = "labelsAdded", default, deserialize_with = "rows")]
    labelled: Vec<Change>,
}

#[derive(Debug, Deserialize)]
struct Change {
    #[serde(default, deserialize_with = "or_default")]
    message: MessageRef,
    /// The added labels.
    #[serde(rename = "labelIds", default, deserialize_with = "rows")]
    labels: Vec<String>,
}

/// Reads the ids of the messages that a record adds or marks as sent.
///
/// Added drafts and spam are left out, so that a draft that is saved again costs no call. A message
/// that is marked as sent is always read, because it may still be a draft in the record. The result
/// is an error if a message has no id.
pub(super) fn read_record(raw: &RawValue) -> (Vec<String>, Result<(), WireError>) {
    let record: HistoryRecord = match read_json(raw.get()) {
        Ok(record) => record,
        Err(_) => return (Vec::new(), Err(WireError::NotAnObject)),
    };
    let is_mail = |change: &Change| !is_ignored(&change.message.labels);
    let is_sent = |change: &Change| change.labels.iter().any(|label| label == SENT);
    let added = record.added.into_iter().filter(is_mail);
    let sent = record.labelled.into_iter().filter(is_sent);
    let ids: Vec<Option<String>> = added.chain(sent).map(|change| change.message.id).collect();
    let is_complete = ids.iter().all(Option::is_some);
    let result = is_complete
        .then_some(())
        .ok_or(WireError::Missing("message.id"));
    (ids.into_iter().flatten().collect(), result)
}

/// A mailbox's description.
#[derive(Debug, Deserialize)]
pub(super) struct Profile {
    #[serde(rename = "emailAddress", default, deserialize_with = "text")]
    pub(super) address: Option<String>,
    #[serde(rename = "historyId", default, deserialize_with = "id")]
    pub(super) position: Option<String>,
}

/// A registration for pushes.
#[derive(Debug, Deserialize)]
pub(super) struct Watch {
    /// Milliseconds, as text or a number.
    #[serde(default, deserialize_with = "id")]
    expiration: Option<String>,
}

impl Watch {
    /// When its pushes end.
    pub(super) fn expires_at(&self) -> Option<DateTime<Utc>> {
        let milliseconds = self.expiration.as_deref()?.parse().ok()?;
        plausible(DateTime::from_timestamp_millis(milliseconds)?)
    }
}

#[cfg(test)]
mod tests;
