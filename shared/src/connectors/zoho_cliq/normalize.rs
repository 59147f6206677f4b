//! Normalization of messages and channels to Signals.
//!
//! Polling and deliveries share these pure functions, so a message has the same dedupe key on every
//! path: its chat and its time, because deliveries have no id of the message. The key does not
//! contain the sender, because the ids of people in deliveries and in lists may differ.

mod delivery;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::SLUG;
use super::wire::{
    Channel, Mention, Message, MessageId, Person, Timestamp, WireError, is_bot, is_thread,
    parent_of,
};
use crate::connectors::Directory;
use crate::model::{
    Actor, ActorKind, Context, ContextKind, DirectoryKind, SignalDraft, SignalKind, Subject,
    TimestampSource,
};

pub(super) use delivery::from_delivery;

/// Kinds of Signals that this connector emits.
pub(super) const KINDS: &[SignalKind] = &[
    SignalKind::MessagePosted,
    SignalKind::ThreadReplied,
    SignalKind::MessageEdited,
    SignalKind::MessageDeleted,
    SignalKind::ChannelCreated,
];

/// A chat with what is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// Id of the chat.
    pub(super) chat: &'a str,
    /// Its title.
    pub(super) title: Option<&'a str>,
    /// Whether it is a channel or a thread of one.
    pub(super) is_channel: bool,
}

impl Place<'_> {
    fn context(&self) -> Context {
        Context {
            kind: if self.is_channel || is_thread(self.chat) {
                ContextKind::Channel
            } else {
                ContextKind::Chat
            },
            id: self.chat.to_owned(),
            name: self.title.map(str::to_owned),
        }
    }
}

/// The position of a message among those of its chat and its millisecond.
///
/// Only lists show it. The first one is 1.
pub(super) type Ordinal = usize;

/// Normalizes a message to `message_posted` or `thread_replied`.
pub(super) fn posted(
    directory: &Directory,
    place: &Place<'_>,
    message: &Message,
    (time, ordinal): (Timestamp, Ordinal),
    mentions_app: bool,
    raw: &RawValue,
) -> SignalDraft {
    let thread = parent_of(place.chat);
    let suffix = match ordinal {
        0 | 1 => String::new(),
        later => format!(":{later}"),
    };
    Fact {
        kind: if thread.is_some() {
            SignalKind::ThreadReplied
        } else {
            SignalKind::MessagePosted
        },
        id: format!("{}:{}{suffix}", place.chat, time.millis()),
        change: String::new(),
        at: time.at(),
        actor: actor(directory, &message.sender),
        normalized: normalized(place, message, mentions_app),
    }
    .signal(place, raw)
}

/// A fact about a message.
struct Fact {
    kind: SignalKind,
    /// Id of the message: its chat and its time.
    id: String,
    /// End of the dedupe key, behind the message's id.
    change: String,
    at: DateTime<Utc>,
    actor: Actor,
    normalized: Value,
}

impl Fact {
    fn signal(self, place: &Place<'_>, raw: &RawValue) -> SignalDraft {
        SignalDraft {
            kind: self.kind,
            dedupe_key: format!("{SLUG}:message:{}{}", self.id, self.change),
            timestamp: self.at,
            timestamp_source: TimestampSource::Provider,
            actor: self.actor,
            subject: Subject {
                kind: "message".to_owned(),
                id: self.id,
                key: None,
                title: None,
                // No stable link is documented.
                url: None,
            },
            context: place.context(),
            normalized: self.normalized,
            raw: raw.to_owned(),
        }
        .cleaned()
    }
}

fn normalized(place: &Place<'_>, message: &Message, mentions_app: bool) -> Value {
    let files = message.files();
    let files: Vec<Value> = files
        .map(|file| json!({ "id": file.id, "name": file.name }))
        .collect();
    let reply_to = message.reply_to();
    json!({
        "text": message.text(),
        "type": message.kind,
        "mentions_app": mentions_app,
        "mentions": message.mentions.iter().map(mention).collect::<Vec<_>>(),
        "files": files,
        "reply_to": reply_to.as_ref().map(MessageId::as_str),
        "thread": parent_of(place.chat),
    })
}

fn mention(mention: &Mention) -> Value {
    json!({ "id": mention.id, "name": mention.name })
}

/// The author of a message; the directory has the name if the message does not.
fn actor(directory: &Directory, person: &Person) -> Actor {
    let Some(id) = &person.id else {
        return Actor::unknown();
    };
    let is_bot = is_bot(id);
    let name = person.name.clone().or_else(|| {
        let known = (!is_bot).then(|| directory.get(DirectoryKind::User, id))??;
        known.name.clone()
    });
    Actor {
        id: Some(id.clone()),
        name,
        kind: if is_bot {
            ActorKind::Bot
        } else {
            ActorKind::User
        },
    }
}

/// Normalizes a channel to `channel_created`; no Signal if it was created before the floor.
pub(super) fn channel_created(
    directory: &Directory,
    channel: &Channel,
    floor: DateTime<Utc>,
    raw: &RawValue,
) -> Result<Option<SignalDraft>, WireError> {
    let id = channel.id.clone();
    let id = id.ok_or(WireError::Missing("channel_id"))?;
    let chat = channel.chat_id.as_deref();
    let chat = chat.ok_or(WireError::Missing("chat_id"))?;
    let at = channel.created_at();
    let at = at.ok_or(WireError::Missing("creation_time"))?.at();
    if at < floor {
        return Ok(None);
    }
    let place = Place {
        chat,
        title: channel.name.as_deref(),
        is_channel: true,
    };
    let signal = SignalDraft {
        kind: SignalKind::ChannelCreated,
        dedupe_key: format!("{SLUG}:channel:{id}:created"),
        timestamp: at,
        timestamp_source: TimestampSource::Provider,
        actor: actor(directory, &channel.creator()),
        subject: Subject {
            kind: "channel".to_owned(),
            id,
            key: channel.unique_name.as_ref().map(|name| format!("#{name}")),
            title: channel.name.clone(),
            url: None,
        },
        context: place.context(),
        normalized: json!({ "name": channel.name }),
        raw: raw.to_owned(),
    };
    Ok(Some(signal.cleaned()))
}
