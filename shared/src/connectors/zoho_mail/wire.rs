//! Types of Zoho Mail's JSON.
//!
//! Rows of lists have texts for everything; deliveries have numbers, which are beyond 2^53. Both
//! are read as text, digit by digit. Deserialization is lenient: a field that is not of the
//! documented form counts as missing. `normalize` checks the fields that a Signal requires.
//!
//! Source: zoho.com/mail/help/api, and the samples of "Outgoing Webhooks".

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::connectors::mail_header::{Mailbox, parse_mailboxes};
pub(super) use crate::connectors::wire::WireError;
use crate::connectors::wire::{id, lenient, or_default, plausible, read_json, text};
use crate::connectors::zoho::unescape;

/// Zoho's words for no recipient.
const NOT_PROVIDED: &str = "Not Provided";

/// Fields of a mail or of another delivery that are kept: neither its text nor its beginning.
const KEPT: [&str; 25] = [
    "IntegIdList",
    "Mode",
    "action",
    "ccAddress",
    "entityId",
    "entityType",
    "flagid",
    "folderId",
    "fromAddress",
    "hasAttachment",
    "hasInline",
    "messageId",
    "messageIdString",
    "nameSpaceId",
    "priority",
    "receivedTime",
    "sender",
    "sentDateInGMT",
    "size",
    "status",
    "status2",
    "subject",
    "threadId",
    "toAddress",
    "zuid",
];

/// A list, whose rows are read one by one.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    #[serde(rename = "data")]
    pub(super) rows: Vec<Box<RawValue>>,
}

/// A mailbox of a person.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Account {
    #[serde(rename = "accountId", default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(rename = "primaryEmailAddress", default, deserialize_with = "text")]
    primary: Option<String>,
    #[serde(rename = "mailboxAddress", default, deserialize_with = "text")]
    mailbox: Option<String>,
    /// A list in recorded answers, and a text in the documentation.
    #[serde(rename = "emailAddress", default, deserialize_with = "or_default")]
    emails: Addresses,
}

impl Account {
    /// The mailbox's own address: the one that Zoho marks as primary, and never an alias.
    pub(super) fn address(&self) -> Option<&str> {
        let primary = self
            .emails
            .0
            .iter()
            .find(|one| one.is_primary == Some(true));
        let primary = primary.and_then(|one| one.mail.as_deref());
        primary.or_else(|| self.stated().next())
    }

    /// Whether this is the mailbox with that address, which may be one of its aliases.
    ///
    /// An address that its owner has not confirmed is none of it.
    pub(super) fn has_address(&self, address: &str) -> bool {
        let confirmed = self.emails.0.iter();
        let confirmed = confirmed.filter(|one| one.is_confirmed != Some(false));
        let aliases = confirmed.filter_map(|one| one.mail.as_deref());
        let mut known = self.stated().chain(aliases);
        known.any(|one| one.eq_ignore_ascii_case(address))
    }

    fn stated(&self) -> impl Iterator<Item = &str> {
        let stated = [&self.primary, &self.mailbox];
        let single = self.emails.0.iter().filter(|one| one.is_primary.is_none());
        let single = single.filter_map(|one| one.mail.as_deref());
        stated
            .into_iter()
            .filter_map(Option::as_deref)
            .chain(single)
    }
}

/// The addresses of a mailbox.
#[derive(Debug, Default)]
struct Addresses(Vec<Address>);

/// An address of a mailbox: the primary one, an alias, or one of unknown kind.
#[derive(Debug, Default, Deserialize)]
struct Address {
    #[serde(rename = "mailId", default, deserialize_with = "text")]
    mail: Option<String>,
    #[serde(rename = "isPrimary", default, deserialize_with = "lenient")]
    is_primary: Option<bool>,
    #[serde(rename = "isConfirmed", default, deserialize_with = "lenient")]
    is_confirmed: Option<bool>,
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let rows: Vec<Box<RawValue>> = read_json(raw.get()).unwrap_or_default();
        let rows = rows.iter().filter_map(|row| object(row).ok());
        let single: Option<String> = read_json(raw.get()).ok();
        let single = single.filter(|address| !address.is_empty());
        let single = single.map(|address| Address {
            mail: Some(address),
            ..Address::default()
        });
        Ok(Self(rows.chain(single).collect()))
    }
}

/// A folder of a mailbox. Its name is in the person's language, its type is not.
#[derive(Debug, Deserialize)]
pub(super) struct Folder {
    #[serde(rename = "folderId", default, deserialize_with = "id")]
    id: Option<String>,
    #[serde(rename = "folderType", default, deserialize_with = "text")]
    kind: Option<String>,
}

/// The mails of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FolderKind {
    /// Received, as in the inbox and in folders that people make.
    Inbox,
    /// Received, in other folders, such as those of newsletters.
    Other,
    /// Sent.
    Sent,
    /// No facts: unsent or unwanted.
    Ignored,
}

impl Folder {
    /// Reads the id and the kind of a folder.
    pub(super) fn parse(raw: &RawValue) -> Result<(String, FolderKind), WireError> {
        let folder: Self = object(raw)?;
        let id = folder.id.filter(|id| is_number(id));
        let kind = folder.kind.ok_or(WireError::Missing("folderType"))?;
        let kind = match kind.to_ascii_lowercase().as_str() {
            "inbox" => FolderKind::Inbox,
            "sent" => FolderKind::Sent,
            "drafts" | "outbox" | "templates" | "spam" | "trash" => FolderKind::Ignored,
            _ => FolderKind::Other,
        };
        Ok((id.ok_or(WireError::Missing("folderId"))?, kind))
    }
}

/// A mail, as a row of a list or as a delivery.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Mail {
    /// Exact, and not always there.
    #[serde(rename = "messageIdString", default, deserialize_with = "id")]
    exact_id: Option<String>,
    #[serde(rename = "messageId", default, deserialize_with = "id")]
    id: Option<String>,
    #[serde(rename = "folderId", default, deserialize_with = "id")]
    pub(super) folder: Option<String>,
    #[serde(rename = "threadId", default, deserialize_with = "id")]
    pub(super) thread: Option<String>,
    #[serde(default, deserialize_with = "text")]
    subject: Option<String>,
    #[serde(default, deserialize_with = "text")]
    sender: Option<String>,
    #[serde(rename = "fromAddress", default, deserialize_with = "text")]
    from: Option<String>,
    #[serde(rename = "toAddress", default, deserialize_with = "text")]
    to: Option<String>,
    #[serde(rename = "ccAddress", default, deserialize_with = "text")]
    cc: Option<String>,
    /// Milliseconds, as text or a number. `sentDateInGMT` is off by the offset of some time zone.
    #[serde(rename = "receivedTime", default, deserialize_with = "id")]
    received: Option<String>,
    /// `1` or `0`, documented as `true` or `false`; only rows have it.
    #[serde(rename = "hasAttachment", default, deserialize_with = "id")]
    attachment: Option<String>,
}

impl Mail {
    /// Deserializes a mail.
    pub(super) fn parse(raw: &RawValue) -> Result<Self, WireError> {
        object(raw)
    }

    /// Whether a delivery is a mail and not a task or a post.
    pub(super) const fn is_mail(&self) -> bool {
        self.exact_id.is_some() || self.id.is_some() || self.received.is_some()
    }

    /// The id, which is a number and stays the same in every folder.
    pub(super) fn id(&self) -> Result<&str, WireError> {
        let ids = [&self.exact_id, &self.id];
        let mut ids = ids.into_iter().filter_map(Option::as_deref);
        ids.find(|id| is_number(id))
            .ok_or(WireError::Missing("messageId"))
    }

    /// When Zoho received it.
    pub(super) fn received_at(&self) -> Result<DateTime<Utc>, WireError> {
        let milliseconds = self.received.as_deref().and_then(|text| text.parse().ok());
        milliseconds
            .and_then(DateTime::from_timestamp_millis)
            .and_then(plausible)
            .ok_or(WireError::Missing("receivedTime"))
    }

    /// The subject.
    pub(super) fn subject(&self) -> Option<String> {
        let subject = self.subject.as_deref().map(unescape);
        subject.map(|subject| subject.trim().to_owned())
    }

    /// The sender: the address, and the name if that is another text.
    pub(super) fn from(&self) -> Option<Mailbox> {
        let stated = self.from.as_deref().map(mailboxes).unwrap_or_default();
        let stated = stated.into_iter().next();
        let name = self.sender.as_deref().map(unescape);
        let name = name.map(|name| name.trim().trim_matches('"').to_owned());
        let (address, stated_name) = stated.map_or((None, None), |one| (one.address, one.name));
        let is_address = |name: &String| {
            let address = address.as_deref();
            address.is_some_and(|address| address.eq_ignore_ascii_case(name))
        };
        let name = name.filter(|name| !name.is_empty() && !is_address(name));
        let mailbox = Mailbox {
            name: name.or(stated_name),
            address,
        };
        (mailbox.address.is_some() || mailbox.name.is_some()).then_some(mailbox)
    }

    /// The addresses of the recipients.
    pub(super) fn to(&self) -> Vec<String> {
        addresses(self.to.as_deref())
    }

    /// The addresses of the recipients of copies.
    pub(super) fn cc(&self) -> Vec<String> {
        addresses(self.cc.as_deref())
    }

    /// Whether it has an attachment, if that is stated.
    pub(super) fn has_attachment(&self) -> Option<bool> {
        match self.attachment.as_deref()? {
            "0" | "false" => Some(false),
            "1" | "true" => Some(true),
            _ => None,
        }
    }
}

fn mailboxes(escaped: &str) -> Vec<Mailbox> {
    if escaped.trim().eq_ignore_ascii_case(NOT_PROVIDED) {
        return Vec::new();
    }
    parse_mailboxes(&unescape(escaped))
}

fn addresses(escaped: Option<&str>) -> Vec<String> {
    let mailboxes = escaped.map(mailboxes).unwrap_or_default();
    let addresses = mailboxes.into_iter().filter_map(|mailbox| mailbox.address);
    addresses.collect()
}

/// Whether an id is one of Zoho's: digits, at most twenty.
fn is_number(id: &str) -> bool {
    (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit())
}

fn object<T: serde::de::DeserializeOwned>(raw: &RawValue) -> Result<T, WireError> {
    let is_object = raw.get().starts_with('{');
    is_object
        .then(|| read_json(raw.get()).ok())
        .flatten()
        .ok_or(WireError::NotAnObject)
}

/// The envelope of a delivery of the outgoing webhook, beside the mail that it may be.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Delivery {
    /// The person whose mailbox sends it.
    #[serde(default, deserialize_with = "id")]
    pub(super) zuid: Option<String>,
    /// The task, if it is one.
    #[serde(rename = "entityId", default, deserialize_with = "id")]
    pub(super) entity: Option<String>,
}

impl Delivery {
    /// Deserializes a delivery.
    pub(super) fn parse(raw: &RawValue) -> Result<Self, WireError> {
        object(raw)
    }
}

/// The object as received, without the fields that are not kept; null if it is no object.
///
/// The text of a mail (`html`) and its beginning (`summary`) must not reach the feed or stored
/// deliveries. Kept values are unchanged, digit by digit.
pub(super) fn without_content(object: Box<RawValue>) -> Result<Box<RawValue>, serde_json::Error> {
    if !object.get().starts_with('{') {
        return to_raw_value(&());
    }
    let mut fields: BTreeMap<String, Box<RawValue>> = read_json(object.get()).unwrap_or_default();
    let is_kept = |name: &str| KEPT.contains(&name);
    if !fields.is_empty() && fields.keys().all(|name| is_kept(name)) {
        return Ok(object);
    }
    fields.retain(|name, _| is_kept(name));
    to_raw_value(&fields)
}

#[cfg(test)]
mod tests;
