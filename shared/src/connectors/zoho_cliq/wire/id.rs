//! Ids of Zoho Cliq: of messages, threads and bots.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::Deserializer;

use super::Timestamp;
use crate::connectors::wire::id;

/// Separator of a thread's chat id, behind its channel's chat id.
const THREAD: &str = "-T-";
/// Prefix of the ids of bots; those of people are digits.
const BOT: &str = "b-";

/// Id of a message: its time in milliseconds, `_`, and a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct MessageId(String);

impl MessageId {
    /// An id, which Cliq also spells with a space or `%20` in place of `_`.
    pub(in super::super) fn new(text: &str) -> Self {
        Self(text.trim().replace("%20", "_").replace(' ', "_"))
    }

    /// The id with `_`.
    pub(in super::super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The time of the message.
    pub(in super::super) fn time(&self) -> Option<Timestamp> {
        let (time, number) = self.0.split_once('_')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (is_number(time) && is_number(number)).then(|| Timestamp::parse(time))?
    }
}

impl Ord for MessageId {
    /// Orders ids of one time by their number: shorter ones are smaller.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl PartialOrd for MessageId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether a chat is a thread.
pub(in super::super) fn is_thread(chat: &str) -> bool {
    parent_of(chat).is_some()
}

/// The chat id of the channel that a thread belongs to.
pub(in super::super) fn parent_of(chat: &str) -> Option<&str> {
    let (parent, thread) = chat.rsplit_once(THREAD)?;
    (!parent.is_empty() && !thread.is_empty()).then_some(parent)
}

/// Whether an id is a bot's.
pub(in super::super) fn is_bot(id: &str) -> bool {
    id.starts_with(BOT)
}

/// A chat id without surrounding spaces, with `_` where Cliq encodes it otherwise.
pub(in super::super) fn chat_id(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.contains("%20") || text.contains(' ') {
        Cow::Owned(MessageId::new(text).0)
    } else {
        Cow::Borrowed(text)
    }
}

/// Deserializes the id of a chat or channel, in the spelling that lists and deliveries share.
pub(super) fn chat<'de, D: Deserializer<'de>>(de: D) -> Result<Option<String>, D::Error> {
    let id = id(de)?.map(|id| chat_id(&id).into_owned());
    Ok(id.filter(|id| !id.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_id_has_one_spelling() {
        for text in [
            "1629465328414_83277101498",
            "1629465328414%2083277101498",
            "1629465328414 83277101498",
            " 1629465328414_83277101498 ",
        ] {
            let id = MessageId::new(text);
            assert_eq!(id.as_str(), "1629465328414_83277101498");
            assert_eq!(id.time().map(Timestamp::millis), Some(1_629_465_328_414));
        }
        for text in ["", "m1", "1629465328414", "1629465328414_", "a_1"] {
            assert_eq!(MessageId::new(text).time(), None, "{text}");
        }
    }

    #[test]
    fn ids_of_one_time_are_ordered_by_number() {
        let (small, large) = (MessageId::new("1_99"), MessageId::new("1_100"));
        assert!(small < large);
    }

    #[test]
    fn thread_names_its_channel() {
        assert_eq!(parent_of("CT_12_34-T-56"), Some("CT_12_34"));
        for chat in ["CT_12_34", "CT_12_34-B2", "-T-56", "CT_12_34-T-"] {
            assert!(!is_thread(chat), "{chat}");
        }
    }
}
