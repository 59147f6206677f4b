//! Channels, conversations and threads with their messages.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::MessageFacts;
use crate::zoho::data_center::DataCenter;

/// Author of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Author {
    /// Login of a person.
    Person(String),
    /// Id and name of a bot.
    Bot(String, String),
}

/// A person or bot that a message mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) is_bot: bool,
}

/// A file of a message.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// Position of a message in its chat: its time in milliseconds and a number.
pub(crate) type Position = (i64, u64);

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) position: Position,
    pub(crate) author: Author,
    pub(crate) text: String,
    /// Cliq wrote the message itself, such as about a new member.
    pub(crate) is_info: bool,
    pub(crate) file: Option<Attachment>,
    pub(crate) mentions: Vec<Mention>,
    pub(crate) reply_to: Option<Position>,
    /// Number of edits.
    pub(crate) revision: u32,
}

impl Message {
    /// Id of the message as lists show it.
    pub(crate) fn id(&self) -> String {
        message_id(self.position)
    }

    /// Time in milliseconds.
    pub(crate) const fn time(&self) -> i64 {
        self.position.0
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match (self.is_info, &self.file) {
            (true, _) => "info",
            (_, Some(_)) => "file",
            _ => "text",
        }
    }
}

/// Id of a message at a position.
pub(crate) fn message_id((time, number): Position) -> String {
    format!("{time}_{number}")
}

/// Position of a message by its id, which may be spelled with a space or `%20`.
pub(crate) fn parse_message_id(id: &str) -> Option<Position> {
    let id = id.replace("%20", "_").replace(' ', "_");
    let (time, number) = id.split_once('_')?;
    Some((time.parse().ok()?, number.parse().ok()?))
}

/// Part of a channel that other chats do not have.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) unique_name: String,
    pub(crate) level: Level,
    pub(crate) is_archived: bool,
    /// Number of the last change of all channels.
    pub(crate) changed: u64,
    /// Ids of its threads' chats.
    pub(crate) threads: Vec<String>,
    /// Ledger rows of its creation by login; `None` if the creation is no fact.
    pub(crate) creation: Option<BTreeMap<String, u64>>,
}

/// Audience of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Organization,
    Team,
    Private,
    External,
}

impl Level {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Team => "team",
            Self::Private => "private",
            Self::External => "external",
        }
    }

    /// Name in version 3.
    pub(crate) const fn name_in_search(self) -> &'static str {
        match self {
            Self::Organization => "organisation",
            Self::Team => "team",
            Self::Private => "personal",
            Self::External => "external",
        }
    }

    /// First letter of a channel's id.
    pub(super) const fn letter(self) -> char {
        match self {
            Self::Organization => 'O',
            Self::Team => 'T',
            Self::Private => 'P',
            Self::External => 'E',
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::Organization,
            Self::Team,
            Self::Private,
            Self::External,
        ];
        all.into_iter().find(|level| level.name() == name)
    }
}

/// Part of a thread that other chats do not have.
#[derive(Debug, Clone)]
pub(crate) struct Thread {
    /// Id of the channel's chat.
    pub(crate) parent: String,
    /// The message that it began with.
    pub(crate) main: Position,
    pub(crate) is_closed: bool,
    pub(crate) followers: BTreeSet<String>,
}

/// Kind of a chat.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Channel(Channel),
    /// Two people.
    Direct,
    /// Several people.
    Group,
    /// A person and the bot of an extension.
    Bot,
    Thread(Thread),
}

/// A sequence of messages.
pub(crate) struct Chat {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) data_center: DataCenter,
    pub(crate) organization: u64,
    pub(crate) title: String,
    pub(crate) creator: String,
    /// Seconds since the epoch.
    pub(crate) created: i64,
    /// Time of the last message, or of the creation, in milliseconds.
    pub(crate) active: i64,
    /// Logins; none in a thread, whose readers are those of its channel.
    pub(crate) members: BTreeSet<String>,
    /// Ids of the extensions whose bots are in it.
    pub(crate) bots: BTreeSet<String>,
    pub(crate) messages: BTreeMap<Position, Message>,
    pub(crate) facts: MessageFacts,
}

impl Chat {
    pub(crate) const fn channel(&self) -> Option<&Channel> {
        match &self.kind {
            Kind::Channel(channel) => Some(channel),
            _ => None,
        }
    }

    pub(crate) const fn thread(&self) -> Option<&Thread> {
        match &self.kind {
            Kind::Thread(thread) => Some(thread),
            _ => None,
        }
    }

    pub(crate) fn last_message(&self) -> Option<&Message> {
        self.messages.values().next_back()
    }

    /// Messages of people and bots of one millisecond, in order of their ids.
    pub(crate) fn written_at(&self, time: i64) -> impl Iterator<Item = &Message> {
        let messages = self.messages.range((time, 0)..=(time, u64::MAX));
        messages
            .map(|(_, message)| message)
            .filter(|message| !message.is_info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_are_read_in_all_spellings() {
        let position = (1_606_715_211_110, 614_577_765_734);
        let id = message_id(position);
        assert_eq!(id, "1606715211110_614577765734");
        for separator in ["_", " ", "%20"] {
            let spelled = id.replace('_', separator);
            assert_eq!(parse_message_id(&spelled), Some(position), "{spelled}");
        }
        assert_eq!(parse_message_id("1606715211110"), None);
    }
}
