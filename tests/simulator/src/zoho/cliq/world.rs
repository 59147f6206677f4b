//! People of all organizations, and their chats.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::chat::{Channel, Chat, Kind, Level, Thread};
use super::facts::MessageFacts;
use crate::zoho::data_center::DataCenter;

/// Seconds of a year.
const YEAR: i64 = 365 * 24 * 3_600;

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

/// Time of creation of chats that exist from the start.
///
/// It is older than any backfill, so that the creation is not expected as a fact.
pub(crate) const fn old_creation(now: i64) -> i64 {
    now - crate::generate::HISTORY_SECONDS - YEAR
}
