//! Slack's events and messages as Signals: pure functions, the same for webhooks and polling,
//! so that a fact has one identity by whichever way it arrives.
//!
//! The table of events, kinds and keys is the one in the Signal catalogue.

mod scene;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::blocks::text_of;
use super::wire::{Channel, Event, Message, Ts, WireError};
use crate::connectors::wire::{plausible, read_json};
use crate::signals::{Actor, SignalDraft, SignalKind, Subject};

pub(super) use scene::Scene;

/// Every kind that Slack gives.
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

/// Subtypes of messages that somebody or some app wrote; the others are Slack's own notes.
const WRITTEN: [&str; 4] = [
    "file_share",
    "bot_message",
    "thread_broadcast",
    "me_message",
];

/// What makes a Signal, apart from the place.
struct Fact<'a> {
    kind: SignalKind,
    key: String,
    at: DateTime<Utc>,
    actor: Actor,
    subject: Subject,
    normalized: Value,
    raw: &'a RawValue,
}

/// The Signal of an event; `None` when the catalogue has no kind for it. `at` is when it was
/// sent, for events that do not say when they happened.
pub(super) fn event(
    scene: &Scene<'_>,
    event: &Event<'_>,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<Option<SignalDraft>, WireError> {
    match event.kind.as_deref().unwrap_or_default() {
        "message" => message_event(scene, event, raw, at),
        // The same message as the one of the `message` event, if there is one.
        "app_mention" => {
            let message = read(raw)?;
            posted(
                scene,
                need(event.channel(), "event.channel")?,
                &message,
                raw,
                true,
            )
            .map(Some)
        }
        "reaction_added" => reaction(scene, event, raw, SignalKind::ReactionAdded, "added"),
        "reaction_removed" => reaction(scene, event, raw, SignalKind::ReactionRemoved, "removed"),
        "channel_created" => {
            let channel: Channel = serde_json::from_value(event.channel.clone())
                .map_err(|_| WireError::Missing("event.channel"))?;
            channel_created(scene, &channel, raw, at).map(Some)
        }
        "member_joined_channel" => member_joined(scene, event, raw).map(Some),
        "file_shared" => file_shared(scene, event, raw, at).map(Some),
        _ => Ok(None),
    }
}

fn message_event(
    scene: &Scene<'_>,
    event: &Event<'_>,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<Option<SignalDraft>, WireError> {
    let channel = || need(event.channel(), "event.channel");
    match event.subtype.as_deref() {
        Some("message_changed") => {
            let now = event.message.ok_or(WireError::Missing("event.message"))?;
            let (mut message, previous) = (read(now)?, before(event));
            let edited_at =
                |message: &Message| message.edited.as_ref().and_then(|edited| edited.ts);
            // A preview was added, or something else that nobody wrote: the edit is an older one.
            let is_edit = message.edited.is_some()
                && (edited_at(&message).is_none() || edited_at(&message) != edited_at(&previous));
            if !is_edit {
                return Ok(None);
            }
            // It is the message that it was, so either names it.
            message.ts = message.ts.or(previous.ts);
            edited(scene, channel()?, &message, now)
        }
        Some("message_deleted") => deleted(scene, channel()?, event, raw, at).map(Some),
        Some(subtype) if !WRITTEN.contains(&subtype) => Ok(None),
        _ => posted(scene, channel()?, &read(raw)?, raw, false).map(Some),
    }
}

/// Reads a message out of its bytes.
pub(super) fn read(raw: &RawValue) -> Result<Message, WireError> {
    read_json(raw.get()).map_err(|_| WireError::Missing("message"))
}

/// Reads a message of a list, each of which has its id.
pub(super) fn read_row(raw: &RawValue) -> Result<Message, WireError> {
    let message = read(raw)?;
    match message.ts {
        Some(_) => Ok(message),
        None => Err(WireError::Missing("message.ts")),
    }
}

/// The message as it was before an event, as far as that is told.
fn before(event: &Event<'_>) -> Message {
    event
        .previous_message
        .and_then(|raw| read(raw).ok())
        .unwrap_or_default()
}

/// Whether somebody or some app wrote a message.
pub(super) fn is_written(message: &Message) -> bool {
    message
        .subtype
        .as_deref()
        .is_none_or(|subtype| WRITTEN.contains(&subtype))
}

/// A message was posted, in a thread or not.
pub(super) fn posted(
    scene: &Scene<'_>,
    channel: &str,
    message: &Message,
    raw: &RawValue,
    mentions_app: bool,
) -> Result<SignalDraft, WireError> {
    let ts = message.ts.ok_or(WireError::Missing("message.ts"))?;
    let thread = message.thread_ts.filter(|thread| *thread != ts);
    let written = text_of(message, raw);
    let mentioned = || {
        let bot = scene.bot_user()?;
        Some(written.as_ref()?.contains(&format!("<@{bot}")))
    };
    let files: Vec<Value> = message
        .files
        .iter()
        .flatten()
        .map(|file| json!({ "id": file.id, "name": file.name }))
        .collect();
    let text = scene.plain(written.as_deref());
    let id = scene.known_id(channel);
    Ok(scene.signal(
        channel,
        Fact {
            kind: if thread.is_some() {
                SignalKind::ThreadReplied
            } else {
                SignalKind::MessagePosted
            },
            key: format!("message:{id}:{ts}"),
            at: ts.at(),
            actor: scene.author(message),
            subject: scene.message_subject(channel, ts, thread, title(message, text.as_deref())),
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

/// What stands as a message's title: its text, or the name of the file that is all there is of it.
fn title<'m>(message: &'m Message, text: Option<&'m str>) -> Option<&'m str> {
    text.or_else(|| {
        let mut files = message.files.iter().flatten();
        files.find_map(|file| file.name.as_deref().or(file.title.as_deref()))
    })
}

/// A message was edited by a person. A change without `edited` is Slack's own, of a link's
/// preview for example.
pub(super) fn edited(
    scene: &Scene<'_>,
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
    let text = scene.plain(text_of(message, raw).as_deref());
    let id = scene.known_id(channel);
    Ok(Some(scene.signal(
        channel,
        Fact {
            kind: SignalKind::MessageEdited,
            key: format!("message:{id}:{ts}:edited:{edited_ts}"),
            at: edited_ts.at(),
            actor: scene.user(edited.user.as_deref()),
            subject: scene.message_subject(channel, ts, thread, title(message, text.as_deref())),
            normalized: json!({ "ts": ts, "thread_ts": thread, "text": text }),
            raw,
        },
    )))
}

fn deleted(
    scene: &Scene<'_>,
    channel: &str,
    event: &Event<'_>,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let previous = before(event);
    let ts = event
        .deleted_ts
        .or(previous.ts)
        .ok_or(WireError::Missing("event.deleted_ts"))?;
    let thread = previous.thread_ts.filter(|thread| *thread != ts);
    let written = event
        .previous_message
        .and_then(|raw| text_of(&previous, raw));
    let text = scene.plain(written.as_deref());
    let id = scene.known_id(channel);
    let mut subject = scene.message_subject(channel, ts, thread, title(&previous, text.as_deref()));
    subject.url = None;
    Ok(scene.signal(
        channel,
        Fact {
            kind: SignalKind::MessageDeleted,
            key: format!("message:{id}:{ts}:deleted"),
            at: event.ts.or(event.at).map_or(at, Ts::at),
            // Slack does not say who.
            actor: Actor::unknown(),
            subject,
            normalized: json!({ "ts": ts, "thread_ts": thread, "text": text }),
            raw,
        },
    ))
}

fn reaction(
    scene: &Scene<'_>,
    event: &Event<'_>,
    raw: &RawValue,
    kind: SignalKind,
    word: &str,
) -> Result<Option<SignalDraft>, WireError> {
    let item = event
        .item
        .as_ref()
        .ok_or(WireError::Missing("event.item"))?;
    // A file belongs to no channel, so a reaction on one is told nowhere.
    if item.kind.as_deref().is_some_and(|kind| kind != "message") {
        return Ok(None);
    }
    let channel = need(item.channel.as_deref(), "event.item.channel")?;
    let ts = item.ts.ok_or(WireError::Missing("event.item.ts"))?;
    let user = need(event.user(), "event.user")?;
    let name = need(event.reaction.as_deref(), "event.reaction")?;
    let at = event.at.ok_or(WireError::Missing("event.event_ts"))?;
    Ok(Some(scene.signal(
        channel,
        Fact {
            kind,
            key: format!(
                "reaction:{}:{ts}:{user}:{name}:{word}:{at}",
                scene.known_id(channel)
            ),
            at: at.at(),
            actor: scene.user(Some(user)),
            subject: scene.message_subject(channel, ts, None, None),
            normalized: json!({
                "reaction": name,
                "ts": ts,
                "item_user": event.item_user,
            }),
            raw,
        },
    )))
}

/// A channel was created. `at` stands in for one that does not say when.
pub(super) fn channel_created(
    scene: &Scene<'_>,
    channel: &Channel,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    need(Some(&channel.id), "channel.id")?;
    let at = channel
        .created
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .and_then(plausible)
        .unwrap_or(at);
    let mut signal = scene.signal(
        &channel.id,
        Fact {
            kind: SignalKind::ChannelCreated,
            key: format!("channel:{}:created", scene.known_id(&channel.id)),
            at,
            actor: scene.user(channel.creator.as_deref()),
            subject: Subject {
                kind: "channel".to_owned(),
                id: scene.known_id(&channel.id).to_owned(),
                key: channel.name.as_ref().map(|name| format!("#{name}")),
                title: channel.name.clone(),
                url: scene.link(&[&channel.id]),
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
    scene: &Scene<'_>,
    event: &Event<'_>,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let channel = need(event.channel(), "event.channel")?;
    let user = need(event.user(), "event.user")?;
    let at = event.at.ok_or(WireError::Missing("event.event_ts"))?;
    let actor = scene.user(Some(user));
    Ok(scene.signal(
        channel,
        Fact {
            kind: SignalKind::MemberJoined,
            key: format!("member:{}:{user}:{at}", scene.known_id(channel)),
            at: at.at(),
            subject: Subject {
                kind: "channel".to_owned(),
                id: scene.known_id(channel).to_owned(),
                key: scene.channel_name(channel).map(|name| format!("#{name}")),
                title: scene.channel_name(channel),
                url: scene.link(&[channel]),
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
    scene: &Scene<'_>,
    event: &Event<'_>,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let channel = need(event.channel(), "event.channel_id")?;
    let file = need(event.file_id.as_deref(), "event.file_id")?;
    Ok(scene.signal(
        channel,
        Fact {
            kind: SignalKind::FileShared,
            key: format!("file:{file}:{}", scene.known_id(channel)),
            at: event.at.map_or(at, Ts::at),
            actor: scene.user(event.user()),
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

fn need<'t>(value: Option<&'t str>, field: &'static str) -> Result<&'t str, WireError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or(WireError::Missing(field))
}
