//! Types of Zoho Cliq's JSON: rows of lists, messages and deliveries.
//!
//! Deserialization is lenient: a field that is not of the documented form counts as missing.
//! `normalize` checks the fields that a Signal requires. Versions 2 and 3 of the API name some
//! fields differently; both spellings are read.
//!
//! Sources: "Zoho Cliq REST API" v2 and v3, and "Bot handlers", at zoho.com/cliq/help.

mod delivery;
mod id;
mod message;
mod timestamp;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

pub(super) use delivery::{Delivery, Handler};
pub(super) use id::{MessageId, is_bot, is_thread, parent_of};
pub(super) use message::{Attachment, Mention, Message, Person};
pub(super) use timestamp::Timestamp;

pub(super) use crate::connectors::wire::WireError;
use crate::connectors::wire::{id, lenient, or_default, read_json, text};

/// A page of channels.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ChannelPage {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) channels: Option<Vec<Box<RawValue>>>,
    #[serde(default, deserialize_with = "text")]
    next_token: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    has_more: Option<bool>,
}

impl ChannelPage {
    /// The token of the next page; `None` on the last one, which may have a token as well.
    pub(super) fn next(&self) -> Option<String> {
        let next = self.next_token.clone();
        next.filter(|_| self.has_more != Some(false))
    }
}

/// A page of direct and group chats, which has no token.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ChatPage {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) chats: Option<Vec<Box<RawValue>>>,
}

/// A page of the threads of a channel.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ThreadPage {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) data: Option<Vec<Box<RawValue>>>,
    #[serde(default, deserialize_with = "text")]
    pub(super) next_token: Option<String>,
}

/// A window of the messages of a chat.
#[derive(Debug, Default, Deserialize)]
pub(super) struct MessagePage {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) data: Option<Vec<Box<RawValue>>>,
}

/// A channel.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Channel {
    #[serde(rename = "channel_id", default, deserialize_with = "id::chat")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "id::chat")]
    pub(super) chat_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) unique_name: Option<String>,
    #[serde(default, deserialize_with = "id")]
    organization_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    level: Option<String>,
    #[serde(default, deserialize_with = "id")]
    creator_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    creator_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    creator: Option<Person>,
    #[serde(default, deserialize_with = "lenient")]
    creation_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    created_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    last_modified_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    last_message_info: LastMessage,
}

impl Channel {
    /// When it was created.
    pub(super) fn created_at(&self) -> Option<Timestamp> {
        self.creation_time.or(self.created_time)
    }

    /// The organization of its members; that of a channel with outsiders may be another one.
    pub(super) fn organization(self) -> Option<String> {
        let is_external = self.level.as_deref() == Some("external");
        self.organization_id.filter(|_| !is_external)
    }

    /// Who created it.
    pub(super) fn creator(&self) -> Person {
        let named = Person::new(self.creator_id.clone(), self.creator_name.clone());
        if named.id.is_some() {
            return named;
        }
        self.creator.clone().unwrap_or(named)
    }

    /// The time of its last message or change.
    pub(super) fn active_at(&self) -> Option<Timestamp> {
        self.last_modified_time.max(self.last_message_info.time)
    }
}

/// A direct or group chat.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Chat {
    #[serde(rename = "chat_id", default, deserialize_with = "id::chat")]
    pub(super) id: Option<String>,
    /// `dm` or `chat`; in v3 `direct_message` or `group_chat`.
    #[serde(rename = "chat_type", default, deserialize_with = "text")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    removed: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    last_modified_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    last_message_info: LastMessage,
}

impl Chat {
    /// Whether it is a conversation that the person is still in, and neither channel nor thread.
    ///
    /// Those are listed with their channels.
    pub(super) fn is_listed(&self) -> bool {
        let kind = self.kind.as_deref().unwrap_or_default();
        let is_other = kind == "channel" || kind.ends_with("thread");
        !is_other && self.removed != Some(true)
    }

    /// The time of its last message or change.
    pub(super) fn active_at(&self) -> Option<Timestamp> {
        self.last_modified_time.max(self.last_message_info.time)
    }
}

/// A thread of a channel.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Thread {
    #[serde(default, deserialize_with = "id::chat")]
    pub(super) chat_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    last_message_information: LastMessage,
}

impl Thread {
    /// The time of its last message.
    pub(super) const fn active_at(&self) -> Option<Timestamp> {
        self.last_message_information.time
    }
}

#[derive(Debug, Default, Deserialize)]
struct LastMessage {
    #[serde(default, deserialize_with = "lenient")]
    time: Option<Timestamp>,
}

/// A user.
#[derive(Debug, Default, Deserialize)]
pub(super) struct User {
    #[serde(default, deserialize_with = "text")]
    display_name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "id")]
    pub(super) organization_id: Option<String>,
}

impl User {
    /// The name for people.
    pub(super) fn shown_name(self) -> Option<String> {
        self.name.or(self.display_name)
    }
}

/// Deserializes a row of a list.
pub(super) fn read_row<T: DeserializeOwned>(raw: &RawValue) -> Result<T, WireError> {
    let is_object = raw.get().starts_with('{');
    is_object
        .then(|| read_json(raw.get()).ok())
        .flatten()
        .ok_or(WireError::NotAnObject)
}

#[cfg(test)]
mod tests;
