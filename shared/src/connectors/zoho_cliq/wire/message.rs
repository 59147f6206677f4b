//! Messages, as lists and deliveries contain them.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{MessageId, Timestamp, WireError, read_row};
use crate::connectors::wire::{id, lenient, or_default, rows, text};

/// Type of a row in which Cliq reports an event of the chat, such as a new member.
const SYSTEM: &str = "info";

/// A message.
#[derive(Debug, Default, Deserialize)]
pub(in super::super) struct Message {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    time: Option<Timestamp>,
    #[serde(rename = "type", default, deserialize_with = "text")]
    pub(in super::super) kind: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) sender: Person,
    /// The text and the file of a listed message.
    #[serde(default, deserialize_with = "or_default")]
    content: Content,
    /// The text, the comment and the file of a delivered one.
    #[serde(default, deserialize_with = "text")]
    text: Option<String>,
    #[serde(default, deserialize_with = "text")]
    comment: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    file: Option<Attachment>,
    #[serde(default, deserialize_with = "rows")]
    attachments: Vec<Attachment>,
    #[serde(default, deserialize_with = "rows")]
    pub(in super::super) mentions: Vec<Mention>,
    /// The message that it answers.
    #[serde(rename = "replied_message", default, deserialize_with = "or_default")]
    answered: Reply,
}

impl Message {
    /// A message of which a delivery states only the text.
    pub(in super::super) fn of_text(text: String) -> Self {
        Self {
            text: Some(text).filter(|text| !text.is_empty()),
            ..Self::default()
        }
    }

    /// Deserializes a message, which is an object or only its text.
    pub(in super::super) fn of(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::of_text(text)),
            value @ Value::Object(_) => serde_json::from_value(value).ok(),
            _ => None,
        }
    }

    /// Deserializes a row of a list; its time is required.
    pub(in super::super) fn read_row(
        raw: &serde_json::value::RawValue,
    ) -> Result<(Timestamp, Self), WireError> {
        let message: Self = read_row(raw)?;
        let time = message.time().ok_or(WireError::Missing("time"))?;
        Ok((time, message))
    }

    /// The id.
    pub(in super::super) fn id(&self) -> Option<MessageId> {
        self.id.as_deref().map(MessageId::new)
    }

    /// The time, which is also part of the id.
    pub(in super::super) fn time(&self) -> Option<Timestamp> {
        self.time.or_else(|| self.id()?.time())
    }

    /// The text, or the comment of a file.
    pub(in super::super) fn text(&self) -> Option<&str> {
        let content = &self.content;
        let texts = [&content.text, &self.text, &content.comment, &self.comment];
        texts.into_iter().find_map(Option::as_deref)
    }

    /// The files.
    pub(in super::super) fn files(&self) -> impl Iterator<Item = &Attachment> {
        let content = &self.content;
        let single = content.file.iter().chain(&self.file);
        single.chain(&content.files).chain(&self.attachments)
    }

    /// The id of the message that it answers.
    pub(in super::super) fn reply_to(&self) -> Option<MessageId> {
        self.answered.id.as_deref().map(MessageId::new)
    }

    /// Whether Cliq wrote the row, and no person or bot.
    pub(in super::super) fn is_system(&self) -> bool {
        let is_empty = self.text().is_none() && self.files().next().is_none();
        self.kind.as_deref() == Some(SYSTEM) || (is_empty && self.sender.id.is_none())
    }

    /// Replaces the text.
    pub(in super::super) fn set_text(&mut self, text: String) {
        self.content = Content::default();
        self.text = Some(text);
    }

    /// Adds attachments that a delivery lists beside the message.
    pub(in super::super) fn with_attachments(mut self, attachments: Vec<Attachment>) -> Self {
        self.attachments.extend(attachments);
        self
    }
}

/// The content of a listed message: an object, or only its text.
#[derive(Debug, Default)]
struct Content {
    text: Option<String>,
    comment: Option<String>,
    file: Option<Attachment>,
    files: Vec<Attachment>,
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default, deserialize_with = "text")]
            text: Option<String>,
            #[serde(default, deserialize_with = "text")]
            comment: Option<String>,
            #[serde(default, deserialize_with = "lenient")]
            file: Option<Attachment>,
            #[serde(default, deserialize_with = "rows")]
            files: Vec<Attachment>,
        }
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self {
                text: Some(text).filter(|text| !text.is_empty()),
                ..Self::default()
            }),
            value => {
                let fields: Fields = object(value)?;
                Ok(Self {
                    text: fields.text,
                    comment: fields.comment,
                    file: fields.file,
                    files: fields.files,
                })
            }
        }
    }
}

/// Deserializes an object, and no list of its fields.
fn object<T: DeserializeOwned, E: Error>(value: Value) -> Result<T, E> {
    if !value.is_object() {
        return Err(E::custom("not an object"));
    }
    serde_json::from_value(value).map_err(E::custom)
}

/// A file: its description, or only its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Attachment {
    pub(in super::super) id: Option<String>,
    pub(in super::super) name: Option<String>,
}

impl<'de> Deserialize<'de> for Attachment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default, deserialize_with = "id")]
            id: Option<String>,
            #[serde(default, deserialize_with = "text")]
            name: Option<String>,
        }
        let (id, name) = match Value::deserialize(deserializer)? {
            Value::String(name) => (None, Some(name).filter(|name| !name.is_empty())),
            value => {
                let fields: Fields = object(value)?;
                (fields.id, fields.name)
            }
        };
        if id.is_none() && name.is_none() {
            return Err(D::Error::custom("a file without id and name"));
        }
        Ok(Self { id, name })
    }
}

/// A person, a bot or a channel that a message mentions.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in super::super) struct Mention {
    #[serde(default, deserialize_with = "id")]
    pub(in super::super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(in super::super) name: Option<String>,
    #[serde(rename = "type", default, deserialize_with = "text")]
    pub(in super::super) kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Reply {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
}

/// A person or a bot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Person {
    pub(in super::super) id: Option<String>,
    pub(in super::super) name: Option<String>,
}

impl Person {
    /// A person with this id and name, either of which may be unknown.
    pub(in super::super) const fn new(id: Option<String>, name: Option<String>) -> Self {
        Self { id, name }
    }
}

impl<'de> Deserialize<'de> for Person {
    /// Deserializes a person, or only the id.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default, deserialize_with = "id")]
            id: Option<String>,
            #[serde(rename = "senderID", default, deserialize_with = "id")]
            sender_id: Option<String>,
            #[serde(default, deserialize_with = "id")]
            zoho_user_id: Option<String>,
            #[serde(default, deserialize_with = "text")]
            name: Option<String>,
            #[serde(rename = "senderName", default, deserialize_with = "text")]
            sender_name: Option<String>,
            #[serde(default, deserialize_with = "text")]
            first_name: Option<String>,
            #[serde(default, deserialize_with = "text")]
            last_name: Option<String>,
        }
        let fields: Fields = match Value::deserialize(deserializer)? {
            Value::String(id) => return Ok(Self::new(Some(id).filter(|id| !id.is_empty()), None)),
            Value::Number(id) => return Ok(Self::new(Some(id.to_string()), None)),
            value => object(value)?,
        };
        let names = [fields.first_name, fields.last_name];
        let full = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let name = fields.name.or(fields.sender_name);
        Ok(Self {
            id: fields.id.or(fields.sender_id).or(fields.zoho_user_id),
            name: name.or(Some(full)).filter(|name| !name.is_empty()),
        })
    }
}
