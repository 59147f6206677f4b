//! Normalization of Slack's events and messages to Signals.
//!
//! Webhooks and polling share these pure functions, so a fact has the same dedupe key on both
//! paths. The Signal catalogue documents events, kinds and keys.

mod context;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::blocks::extract_text;
use super::wire::{Channel, Event, Message, Ts, WireError};
use crate::connectors::wire::{plausible, read_json};
use crate::model::{Actor, SignalDraft, SignalKind, Subject};

pub(super) use context::NormalizeContext;

/// Kinds of Signals that this connector emits.
pub(super) const KINDS: &[SignalKind] = &[
    SignalKind::MessagePosted,
    SignalKind::ThreadReplied,
    SignalKind::MessageEdited,
    SignalKind::MessageDeleted,
    SignalKind::ReactionAdded,
    SignalKind::ReactionRemoved,
    SignalKind::ChannelCreated,
    SignalKind::MemberJoined,
    SignalKind::FileShared,
];

/// Subtypes of messages by users and apps; other subtypes are system messages.
const AUTHORED_SUBTYPES: [&str; 4] = [
    "file_share",
    "bot_message",
    "thread_broadcast",
    "me_message",
];

/// The parts of a Signal that do not depend on the account and the channel.
struct Fact<'a> {
    kind: SignalKind,
    key: String,
    at: DateTime<Utc>,
    actor: Actor,
    subject: Subject,
    normalized: Value,
    raw: &'a RawValue,
}

/// Normalizes an event; `None` if the catalogue has no kind for it.
///
/// `at` is the time of the delivery, for events without a timestamp.
pub(super) fn from_event(
    context: &NormalizeContext<'_>,
    event: &Event<'_>,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<Option<SignalDraft>, WireError> {
    match event.kind.as_deref().unwrap_or_default() {
        "message" => message_event(context, event, raw, at),
        // The bot may also receive the same message as a `message` event.
        "app_mention" => {
            let message = read(raw)?;
            message_posted(
                context,
                require(event.channel(), "event.channel")?,
                &message,
                raw,
                true,
            )
            .map(Some)
        }
        "reaction_added" => reaction(context, event, raw, SignalKind::ReactionAdded, "added"),
        "reaction_removed" => reaction(context, event, raw, SignalKind::ReactionRemoved, "removed"),
        "channel_created" => {
            let channel: Channel = serde_json::from_value(event.channel.clone())
                .map_err(|_| WireError::Missing("event.channel"))?;
            channel_created(context, &channel, raw, at).map(Some)
        }
        "member_joined_channel" => member_joined(context, event, raw).map(Some),
        "file_shared" => file_shared(context, event, raw, at).map(Some),
        _ => Ok(None),
    }
}

fn message_event(
    context: &NormalizeContext<'_>,
    event: &Event<'_>,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<Option<SignalDraft>, WireError> {
    let channel = || require(event.channel(), "event.channel");
    match event.subtype.as_deref() {
        Some("message_changed") => {
            let now = event.message.ok_or(WireError::Missing("event.message"))?;
            let (mut message, previous) = (read(now)?, previous_message(event));
            let edited_at =
                |message: &Message| message.edited.as_ref().and_then(|edited| edited.ts);
            // Link previews also change a message; `edited` is then absent or unchanged.
            let is_edit = message.edited.is_some()
                && (edited_at(&message).is_none() || edited_at(&message) != edited_at(&previous));
            if !is_edit {
                return Ok(None);
            }
            // Both versions have the same id.
            message.ts = message.ts.or(previous.ts);
            message_edited(context, channel()?, &message, now)
        }
        Some("message_deleted") => message_deleted(context, channel()?, event, raw, at).map(Some),
        Some(subtype) if !AUTHORED_SUBTYPES.contains(&subtype) => Ok(None),
        _ => message_posted(context, channel()?, &read(raw)?, raw, false).map(Some),
    }
}

/// Deserializes a message.
pub(super) fn read(raw: &RawValue) -> Result<Message, WireError> {
    read_json(raw.get()).map_err(|_| WireError::Missing("message"))
}

/// Deserializes a message of a list; its id is required.
pub(super) fn read_row(raw: &RawValue) -> Result<Message, WireError> {
    let message = read(raw)?;
    match message.ts {
        Some(_) => Ok(message),
        None => Err(WireError::Missing("message.ts")),
    }
}

/// The previous version of a changed or deleted message; empty if the event omits it.
fn previous_message(event: &Event<'_>) -> Message {
    event
        .previous_message
        .and_then(|raw| read(raw).ok())
        .unwrap_or_default()
}

/// Whether a user or an app wrote a message.
pub(super) fn is_authored(message: &Message) -> bool {
    message
        .subtype
        .as_deref()
        .is_none_or(|subtype| AUTHORED_SUBTYPES.contains(&subtype))
}

/// Normalizes a message to `message_posted` or `thread_replied`.
pub(super) fn message_posted(
    context: &NormalizeContext<'_>,
    channel: &str,
    message: &Message,
    raw: &RawValue,
    mentions_app: bool,
) -> Result<SignalDraft, WireError> {
    let ts = message.ts.ok_or(WireError::Missing("message.ts"))?;
    let thread = message.thread_ts.filter(|thread| *thread != ts);
    let written = extract_text(message, raw);
    let mentioned = || {
        let mention = format!("<@{}", context.bot_user()?);
        let mut parts = written.as_ref()?.split(mention.as_str()).skip(1);
        Some(parts.any(|rest| rest.starts_with(['>', '|'])))
    };
    let files: Vec<Value> = message
        .files
        .iter()
        .flatten()
        .map(|file| json!({ "id": file.id, "name": file.name }))
        .collect();
    let text = context.plain_text(written.as_deref());
    let id = context.known_id(channel);
    Ok(context.signal(
        channel,
        Fact {
            kind: if thread.is_some() {
                SignalKind::ThreadReplied
            } else {
                SignalKind::MessagePosted
            },
            key: format!("message:{id}:{ts}"),
            at: ts.at(),
            actor: context.author(message),
            subject: context.message_subject(channel, ts, thread, title(message, text.as_deref())),
            normalized: json!({
                "ts": ts,
                "thread_ts": thread,
                "text": text,
                "mentions_app": mentions_app || mentioned() == Some(true),
                "files": files,
            }),
            raw,
        },
    ))
}

/// The title of a message: its text, else the name of its first file.
fn title<'m>(message: &'m Message, text: Option<&'m str>) -> Option<&'m str> {
    text.or_else(|| {
        let mut files = message.files.iter().flatten();
        files.find_map(|file| file.name.as_deref().or(file.title.as_deref()))
    })
}

/// Normalizes an edit to `message_edited`.
///
/// `None` for changes without `edited`, which Slack makes, such as link previews.
pub(super) fn message_edited(
    context: &NormalizeContext<'_>,
    channel: &str,
    message: &Message,
    raw: &RawValue,
) -> Result<Option<SignalDraft>, WireError> {
    let Some(edited) = &message.edited else {
        return Ok(None);
    };
    let ts = message.ts.ok_or(WireError::Missing("message.ts"))?;
    let edited_ts = edited.ts.ok_or(WireError::Missing("message.edited.ts"))?;
    let thread = message.thread_ts.filter(|thread| *thread != ts);
    let text = context.plain_text(extract_text(message, raw).as_deref());
    let id = context.known_id(channel);
    Ok(Some(context.signal(
        channel,
        Fact {
            kind: SignalKind::MessageEdited,
            key: format!("message:{id}:{ts}:edited:{edited_ts}"),
            at: edited_ts.at(),
            actor: context.user(edited.user.as_deref()),
            subject: context.message_subject(channel, ts, thread, title(message, text.as_deref())),
            normalized: json!({ "ts": ts, "thread_ts": thread, "text": text }),
            raw,
        },
    )))
}

fn message_deleted(
    context: &NormalizeContext<'_>,
    channel: &str,
    event: &Event<'_>,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let previous = previous_message(event);
    let ts = event
        .deleted_ts
        .or(previous.ts)
        .ok_or(WireError::Missing("event.deleted_ts"))?;
    let thread = previous.thread_ts.filter(|thread| *thread != ts);
    let written = event
        .previous_message
        .and_then(|raw| extract_text(&previous, raw));
    let text = context.plain_text(written.as_deref());
    let id = context.known_id(channel);
    let mut subject =
        context.message_subject(channel, ts, thread, title(&previous, text.as_deref()));
    subject.url = None;
    Ok(context.signal(
        channel,
        Fact {
            kind: SignalKind::MessageDeleted,
            key: format!("message:{id}:{ts}:deleted"),
            at: event.ts.or(event.at).map_or(at, Ts::at),
            // The event does not contain the actor.
            actor: Actor::unknown(),
            subject,
            normalized: json!({ "ts": ts, "thread_ts": thread, "text": text }),
            raw,
        },
    ))
}

fn reaction(
    context: &NormalizeContext<'_>,
    event: &Event<'_>,
    raw: &RawValue,
    kind: SignalKind,
    change: &str,
) -> Result<Option<SignalDraft>, WireError> {
    let item = event
        .item
        .as_ref()
        .ok_or(WireError::Missing("event.item"))?;
    // A reaction on a file has no channel, so it has no Signal.
    if item.kind.as_deref().is_some_and(|kind| kind != "message") {
        return Ok(None);
    }
    let channel = require(item.channel.as_deref(), "event.item.channel")?;
    let ts = item.ts.ok_or(WireError::Missing("event.item.ts"))?;
    let user = require(event.user(), "event.user")?;
    let name = require(event.reaction.as_deref(), "event.reaction")?;
    let at = event.at.ok_or(WireError::Missing("event.event_ts"))?;
    Ok(Some(context.signal(
        channel,
        Fact {
            kind,
            key: format!(
                "reaction:{}:{ts}:{user}:{name}:{change}:{at}",
                context.known_id(channel)
            ),
            at: at.at(),
            actor: context.user(Some(user)),
            subject: context.message_subject(channel, ts, None, None),
            normalized: json!({
                "reaction": name,
                "ts": ts,
                "item_user": event.item_user,
            }),
            raw,
        },
    )))
}

/// Normalizes a channel to `channel_created`; `at` is the fallback for its creation time.
pub(super) fn channel_created(
    context: &NormalizeContext<'_>,
    channel: &Channel,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    require(Some(&channel.id), "channel.id")?;
    let at = channel
        .created
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .and_then(plausible)
        .unwrap_or(at);
    let mut signal = context.signal(
        &channel.id,
        Fact {
            kind: SignalKind::ChannelCreated,
            key: format!("channel:{}:created", context.known_id(&channel.id)),
            at,
            actor: context.user(channel.creator.as_deref()),
            subject: Subject {
                kind: "channel".to_owned(),
                id: context.known_id(&channel.id).to_owned(),
                key: channel.name.as_ref().map(|name| format!("#{name}")),
                title: channel.name.clone(),
                url: context.link(&[&channel.id]),
            },
            normalized: json!({ "name": channel.name }),
            raw,
        },
    );
    if signal.context.name.is_none() {
        signal.context.name.clone_from(&channel.name);
    }
    Ok(signal)
}

fn member_joined(
    context: &NormalizeContext<'_>,
    event: &Event<'_>,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let channel = require(event.channel(), "event.channel")?;
    let user = require(event.user(), "event.user")?;
    let at = event.at.ok_or(WireError::Missing("event.event_ts"))?;
    let actor = context.user(Some(user));
    Ok(context.signal(
        channel,
        Fact {
            kind: SignalKind::MemberJoined,
            key: format!("member:{}:{user}:{at}", context.known_id(channel)),
            at: at.at(),
            subject: Subject {
                kind: "channel".to_owned(),
                id: context.known_id(channel).to_owned(),
                key: context.channel_name(channel).map(|name| format!("#{name}")),
                title: context.channel_name(channel),
                url: context.link(&[channel]),
            },
            normalized: json!({
                "member": { "id": user, "name": actor.name },
                "inviter": event.inviter,
            }),
            actor,
            raw,
        },
    ))
}

fn file_shared(
    context: &NormalizeContext<'_>,
    event: &Event<'_>,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let channel = require(event.channel(), "event.channel_id")?;
    let file = require(event.file_id.as_deref(), "event.file_id")?;
    Ok(context.signal(
        channel,
        Fact {
            kind: SignalKind::FileShared,
            key: format!("file:{file}:{}", context.known_id(channel)),
            at: event.at.map_or(at, Ts::at),
            actor: context.user(event.user()),
            subject: Subject {
                kind: "file".to_owned(),
                id: file.to_owned(),
                key: None,
                title: None,
                url: None,
            },
            normalized: json!({ "file_id": file }),
            raw,
        },
    ))
}

fn require<'t>(value: Option<&'t str>, field: &'static str) -> Result<&'t str, WireError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or(WireError::Missing(field))
}
