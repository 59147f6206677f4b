//! Channels, chats and threads with their messages, and the people in them.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::facts::MessageFacts;
use crate::zoho::data_center::DataCenter;

/// A person of an organization.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) login: String,
    pub(crate) zuid: String,
    pub(crate) data_center: DataCenter,
    pub(crate) address: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) organization: u64,
    /// Container of the person's facts in the ledger.
    pub(crate) container: u64,
    pub(crate) is_administrator: bool,
    /// Time of the last change of the profile, in seconds.
    pub(crate) modified: i64,
    /// Channels and chats that the person is in, without threads.
    pub(crate) chats: BTreeSet<String>,
}

impl User {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }
}

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
    const fn letter(self) -> char {
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

/// A chat that is not there yet.
pub(crate) struct NewChat<'a> {
    pub(crate) creator: &'a str,
    pub(crate) title: String,
    pub(crate) members: BTreeSet<String>,
    /// Seconds since the epoch.
    pub(crate) created: i64,
}

/// All people and chats.
pub(crate) struct World {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) chats: BTreeMap<String, Chat>,
    /// Chats of channels by the channel's id.
    pub(crate) channels: BTreeMap<String, String>,
    pub(crate) rng: StdRng,
    /// Number of changes of channels.
    pub(crate) changes: u64,
    /// Last time of an edit that a delivery stated, in milliseconds.
    pub(crate) stated: i64,
    /// Number of deliveries.
    pub(crate) deliveries: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            users: BTreeMap::new(),
            chats: BTreeMap::new(),
            channels: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
            changes: 0,
            stated: 0,
            deliveries: 0,
        }
    }

    /// Random number with 19 digits.
    pub(crate) fn long_number(&mut self) -> u64 {
        self.rng
            .random_range(1_000_000_000_000_000_000..3_000_000_000_000_000_000)
    }

    /// Adds a chat and returns its id; `make` makes the id of a number and the organization.
    fn add_chat(
        &mut self,
        new: NewChat<'_>,
        kind: Kind,
        make: impl Fn(u64, u64) -> String,
    ) -> String {
        let creator = &self.users[new.creator];
        let (data_center, organization) = (creator.data_center, creator.organization);
        let id = make(self.long_number(), organization);
        for member in &new.members {
            if let Some(user) = self.users.get_mut(member) {
                user.chats.insert(id.clone());
            }
        }
        let chat = Chat {
            id: id.clone(),
            kind,
            data_center,
            organization,
            title: new.title,
            creator: new.creator.to_owned(),
            created: new.created,
            active: new.created * 1_000,
            members: new.members,
            bots: BTreeSet::new(),
            messages: BTreeMap::new(),
            facts: MessageFacts::default(),
        };
        self.chats.insert(id.clone(), chat);
        id
    }

    /// Adds a channel and returns the id of its chat.
    pub(crate) fn add_channel(&mut self, new: NewChat<'_>, level: Level) -> String {
        let number = self
            .rng
            .random_range(1_000_000_000_000_u64..9_999_999_999_999);
        let unique_name = new.title.trim_start_matches('#').to_lowercase();
        let channel = Channel {
            id: format!("{}{number}", level.letter()),
            unique_name: unique_name.replace(|one: char| !one.is_ascii_alphanumeric(), ""),
            level,
            is_archived: false,
            changed: 0,
            threads: Vec::new(),
            creation: None,
        };
        let channel_id = channel.id.clone();
        let id = self.add_chat(new, Kind::Channel(channel), |number, organization| {
            format!("CT_{number}_{organization}")
        });
        self.channels.insert(channel_id, id.clone());
        self.touch(&id);
        id
    }

    /// Adds a chat of two people, or of more.
    pub(crate) fn add_conversation(&mut self, new: NewChat<'_>) -> String {
        if new.members.len() <= 2 {
            return self.add_chat(new, Kind::Direct, |number, _| number.to_string());
        }
        self.add_chat(new, Kind::Group, |number, organization| {
            format!("CT_{number}_P{organization}-C4")
        })
    }

    /// Adds a chat of a person with a bot.
    pub(crate) fn add_bot_chat(&mut self, new: NewChat<'_>) -> String {
        self.add_chat(new, Kind::Bot, |number, organization| {
            format!("CT_{number}_{organization}-B2")
        })
    }

    /// Adds a thread to a channel.
    pub(crate) fn add_thread(&mut self, new: NewChat<'_>, thread: Thread) -> String {
        let parent = thread.parent.clone();
        let id = self.add_chat(new, Kind::Thread(thread), |number, _| {
            format!("{parent}-T-{number}")
        });
        if let Some(Kind::Channel(channel)) = self.chats.get_mut(&parent).map(|one| &mut one.kind) {
            channel.threads.push(id.clone());
        }
        id
    }

    /// Numbers a change of a channel, for sync tokens.
    pub(crate) fn touch(&mut self, chat: &str) {
        self.changes += 1;
        if let Some(Kind::Channel(channel)) = self.chats.get_mut(chat).map(|chat| &mut chat.kind) {
            channel.changed = self.changes;
        }
    }

    /// The chat whose members read a chat: the channel of a thread, or itself.
    pub(crate) fn home<'w>(&'w self, chat: &'w Chat) -> &'w Chat {
        let parent = chat
            .thread()
            .and_then(|thread| self.chats.get(&thread.parent));
        parent.unwrap_or(chat)
    }

    /// Whether a person is in a chat, or in the channel of a thread.
    pub(crate) fn reads(&self, login: &str, chat: &Chat) -> bool {
        self.home(chat).members.contains(login)
    }

    /// Chat by its id, or by the id of a channel.
    pub(crate) fn find_chat(&self, id: &str) -> Option<&Chat> {
        let id = self.channels.get(id).map_or(id, String::as_str);
        self.chats.get(id)
    }

    /// Channels, chats and threads that a person reads, with the channels first in order of ids.
    pub(crate) fn chats_of(&self, login: &str) -> Vec<&Chat> {
        let own = self
            .users
            .get(login)
            .into_iter()
            .flat_map(|user| &user.chats);
        let chats: Vec<&Chat> = own.filter_map(|id| self.chats.get(id)).collect();
        let channels = chats.iter().filter_map(|chat| chat.channel());
        let threads = channels.flat_map(|channel| &channel.threads);
        let threads: Vec<&Chat> = threads.filter_map(|id| self.chats.get(id)).collect();
        chats.into_iter().chain(threads).collect()
    }

    /// People of an organization in order of their ids.
    pub(crate) fn colleagues(&self, login: &str) -> Vec<&User> {
        let Some(own) = self.users.get(login) else {
            return Vec::new();
        };
        let users = self.users.values();
        users
            .filter(|user| {
                (user.data_center, user.organization) == (own.data_center, own.organization)
            })
            .collect()
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
