//! Normalization of deliveries of bot handlers.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Fact, Place, actor, mention, normalized, posted};
use crate::connectors::Directory;
use crate::connectors::zoho_cliq::directory::is_channel;
use crate::connectors::zoho_cliq::wire::{
    Delivery, Handler, Message, Timestamp, WireError, parent_of,
};
use crate::model::{DirectoryKind, SignalDraft, SignalKind, TimestampSource};

/// Normalizes a delivery; `None` if the catalogue has no kind for it.
pub(in super::super) fn from_delivery(
    directory: &Directory,
    delivery: &Delivery,
    received_at: DateTime<Utc>,
) -> Result<Option<SignalDraft>, WireError> {
    let params = &delivery.params;
    let operation = delivery.operation().unwrap_or_default();
    let (message, time) = match delivery.handler {
        Handler::Participation => params.happened(),
        Handler::Mention => params.mentioning(),
        Handler::Message => params.typed(),
        Handler::Other => return Ok(None),
    };
    let is_addressed = delivery.handler != Handler::Participation;
    if !is_addressed
        && !matches!(
            operation,
            "message_sent" | "message_edited" | "message_deleted"
        )
    {
        return Ok(None);
    }
    let chat = params.chat_id();
    let chat = chat.as_deref().ok_or(WireError::Missing("chat.id"))?;
    let time = time.ok_or(WireError::Missing("time"))?;
    let is_described = params.chat.title.is_some() && params.chat.has_kind();
    let known = (!is_described).then(|| directory.get(DirectoryKind::Channel, chat));
    let known = known.flatten();
    let title = known.as_ref().and_then(|entry| entry.name.as_deref());
    let place = Place {
        chat,
        title: params.chat.title.as_deref().or(title),
        is_channel: params.chat.is_channel() || known.as_deref().is_some_and(is_channel),
    };
    let posted_message = |mut message: Message| {
        let mentions_app = is_addressed || mentions_bot(delivery, &message);
        if message.mentions.is_empty() {
            message.mentions = params.mentions();
        }
        posted(
            directory,
            &place,
            &message,
            (time, 1),
            mentions_app,
            &delivery.raw,
        )
    };
    match operation {
        _ if is_addressed => Ok(Some(posted_message(message))),
        "message_sent" if message.is_system() => Ok(None),
        "message_sent" => Ok(Some(posted_message(message))),
        change => {
            let change = Change {
                is_edit: change == "message_edited",
                time,
                received_at,
            };
            change
                .signal(directory, delivery, &place, &message)
                .map(Some)
        }
    }
}

/// Whether a message mentions the bot that received the delivery.
fn mentions_bot(delivery: &Delivery, message: &Message) -> bool {
    message.mentions.iter().any(|mention| {
        mention.kind.as_deref() == Some("bot")
            && mention.name.is_some()
            && mention.name == delivery.bot
    })
}

/// An edit or a deletion.
struct Change {
    is_edit: bool,
    /// The time that the delivery states beside the message.
    ///
    /// It is not documented whether that is the message's or the change's.
    time: Timestamp,
    /// The time of receipt.
    received_at: DateTime<Utc>,
}

impl Change {
    fn signal(
        &self,
        directory: &Directory,
        delivery: &Delivery,
        place: &Place<'_>,
        message: &Message,
    ) -> Result<SignalDraft, WireError> {
        let id = format!("{}:{}", place.chat, self.time.millis());
        let user = actor(directory, &delivery.params.user);
        if self.is_edit {
            let at = delivery.timestamp;
            let at = at.ok_or(WireError::Missing("timestamp"))?;
            let fact = Fact {
                kind: SignalKind::MessageEdited,
                id,
                change: format!(":edited:{}", at.millis()),
                at: at.at(),
                actor: user,
                normalized: normalized(place, message, mentions_bot(delivery, message)),
            };
            return Ok(fact.signal(place, &delivery.raw));
        }
        let stated = delivery.timestamp.map(Timestamp::at);
        let fact = Fact {
            kind: SignalKind::MessageDeleted,
            id,
            change: ":deleted".to_owned(),
            at: stated.unwrap_or(self.received_at),
            actor: user,
            normalized: json!({
                "text": message.text(),
                "type": message.kind,
                "mentions": message.mentions.iter().map(mention).collect::<Vec<_>>(),
                "thread": parent_of(place.chat),
            }),
        };
        let mut signal = fact.signal(place, &delivery.raw);
        if stated.is_none() {
            signal.timestamp_source = TimestampSource::Received;
        }
        Ok(signal)
    }
}
