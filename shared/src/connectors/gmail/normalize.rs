//! Normalization of messages to Signals.
//!
//! The history and the list of messages share this pure function, so a message has the same dedupe
//! key on both paths. No rule depends on the position in the history or on our clock.

use chrono::{DateTime, Utc};
use serde_json::json;
use serde_json::value::RawValue;

use super::SLUG;
use super::auth::address;
use super::wire::{Mailbox, Message, SENT, WireError, decode_text, is_ignored, parse_mailboxes};
use crate::model::{
    Actor, ActorKind, Context, ContextKind, ExternalAccount, SignalDraft, SignalKind, Subject,
    TimestampSource,
};

/// Kinds of Signals that this connector emits.
pub(super) const KINDS: &[SignalKind] = &[SignalKind::EmailReceived, SignalKind::EmailSent];

/// Normalizes a message.
///
/// Drafts, spam, chats and messages before the floor give no Signal. A message in the trash was
/// received, so it gives one. A message to oneself counts as sent.
pub(super) fn message(
    account: &ExternalAccount,
    message: &Message,
    floor: DateTime<Utc>,
    raw: &RawValue,
) -> Result<Option<SignalDraft>, WireError> {
    let at = message
        .received_at()
        .ok_or(WireError::Missing("internalDate"))?;
    let id = message.id.clone().ok_or(WireError::Missing("id"))?;
    if at < floor || is_ignored(&message.labels) {
        return Ok(None);
    }
    let is_sent = message.labels.iter().any(|label| label == SENT);
    let sender = message.headers("From").flat_map(parse_mailboxes).next();
    let (is_list, is_auto) = (message.header("List-Id").is_some(), is_automatic(message));
    let sub = &account.stable_id;
    let signal = SignalDraft {
        kind: if is_sent {
            SignalKind::EmailSent
        } else {
            SignalKind::EmailReceived
        },
        dedupe_key: format!("{SLUG}:{sub}:message:{id}"),
        timestamp: at,
        timestamp_source: TimestampSource::Provider,
        actor: actor(sender.as_ref(), is_list || is_auto),
        subject: Subject {
            kind: "email".to_owned(),
            id,
            key: None,
            title: message.header("Subject").and_then(decode_text),
            // No stable link is documented.
            url: None,
        },
        context: Context {
            kind: ContextKind::Mailbox,
            id: sub.clone(),
            name: Some(address(account).to_owned()),
        },
        normalized: json!({
            "from": sender.map(|Mailbox { address, name }| {
                json!({ "address": address, "name": name })
            }),
            "to": addresses(message, "To"),
            "cc": addresses(message, "Cc"),
            "message_id": message.header("Message-ID"),
            "thread_id": message.thread_id,
            "labels": message.labels.iter().filter(|label| is_system(label)).collect::<Vec<_>>(),
            "list": is_list,
            "auto": is_auto,
        }),
        raw: raw.to_owned(),
    };
    Ok(Some(signal.cleaned()))
}

/// The addresses of a header, which may be repeated.
fn addresses(message: &Message, name: &str) -> Vec<String> {
    let listed = message.headers(name).flat_map(parse_mailboxes);
    listed.filter_map(|mailbox| mailbox.address).collect()
}

/// Whether a program sent the message (RFC 3834, section 5).
fn is_automatic(message: &Message) -> bool {
    message.header("Auto-Submitted").is_some_and(|value| {
        let keyword = value.split([';', '(']).next().unwrap_or_default();
        !keyword.trim().eq_ignore_ascii_case("no")
    })
}

/// Whether a label is Gmail's own; labels of people have ids such as `Label_7`.
fn is_system(label: &str) -> bool {
    let mut bytes = label.bytes();
    !label.is_empty() && bytes.all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// The sender as an actor.
fn actor(sender: Option<&Mailbox>, is_bot: bool) -> Actor {
    let Some(Mailbox { address, name }) = sender else {
        return Actor::unknown();
    };
    Actor {
        id: address.as_ref().map(|address| address.to_lowercase()),
        name: name.clone(),
        kind: if is_bot {
            ActorKind::Bot
        } else {
            ActorKind::User
        },
    }
}
