//! Facts of messages and channels, as the mapping to Signals defines them.
//!
//! A push names a message by its chat and time, so messages of one millisecond share a key; the
//! second one in order of id has `:2`, which only a list can show.

use std::collections::BTreeMap;

use super::chat::{Chat, Kind};
use super::world::World;
use crate::ledger::{Fact, Ledger};

/// Slug in the ledger.
pub(crate) const SOURCE: &str = "zoho_cliq";

/// Ledger rows of one key, by login.
#[derive(Default)]
struct Recorded {
    is_shown: bool,
    rows: BTreeMap<String, u64>,
}

/// Ledger rows of a chat's messages, by time and number among those of one millisecond.
#[derive(Default)]
pub(crate) struct MessageFacts {
    by_place: BTreeMap<(i64, usize), Recorded>,
}

impl MessageFacts {
    /// Ledger row of a person for a message.
    pub(crate) fn row(&self, login: &str, time: i64, number: usize) -> Option<u64> {
        self.by_place.get(&(time, number))?.rows.get(login).copied()
    }

    /// Ledger rows of a person.
    fn rows_of(&self, login: &str) -> Vec<u64> {
        let all = self.by_place.values();
        all.filter_map(|fact| fact.rows.get(login).copied())
            .collect()
    }

    /// Times of all messages that are facts.
    fn times(&self) -> Vec<i64> {
        let mut times: Vec<i64> = self.by_place.keys().map(|(time, _)| *time).collect();
        times.dedup();
        times
    }
}

/// Key of a message without its number.
fn message_key(chat: &str, time: i64) -> String {
    format!("{SOURCE}:message:{chat}:{time}")
}

const fn posted_kind(chat: &Chat) -> &'static str {
    match chat.kind {
        Kind::Thread(_) => "thread_replied",
        _ => "message_posted",
    }
}

/// People who read a chat, with the containers of their facts.
fn readers(world: &World, chat: &Chat) -> Vec<(String, u64)> {
    let members = world.home(chat).members.iter();
    let users = members.filter_map(|login| world.users.get(login));
    users
        .map(|user| (user.login.clone(), user.container))
        .collect()
}

/// Records the facts of the messages of one millisecond, and hides those that are gone.
///
/// Returns the ledger rows of new facts. No list has the chats of bots.
pub(crate) fn settle(world: &mut World, ledger: &Ledger, chat_id: &str, time: i64) -> Vec<u64> {
    let Some(chat) = world.chats.get(chat_id) else {
        return Vec::new();
    };
    let (count, kind) = (chat.written_at(time).count(), posted_kind(chat));
    let pollable = !matches!(chat.kind, Kind::Bot);
    let readers = readers(world, chat);
    let Some(chat) = world.chats.get_mut(chat_id) else {
        return Vec::new();
    };
    let gone = chat.facts.by_place.range_mut((time, count)..(time + 1, 0));
    for (_, fact) in gone.filter(|(_, fact)| fact.is_shown) {
        fact.is_shown = false;
        let rows: Vec<u64> = fact.rows.values().copied().collect();
        ledger.hide(&rows);
    }
    let mut new = Vec::new();
    for number in 0..count {
        let fact = chat.facts.by_place.entry((time, number)).or_default();
        let is_back = !fact.is_shown;
        fact.is_shown = true;
        let mut key = message_key(chat_id, time);
        if number > 0 {
            key = format!("{key}:{}", number + 1);
        }
        for (login, container) in &readers {
            if !is_back && fact.rows.contains_key(login) {
                continue;
            }
            let row = ledger.record(Fact {
                source: SOURCE,
                account: login.clone(),
                kind,
                key: key.clone(),
                at: time.div_euclid(1_000),
                container: *container,
                webhook: false,
                pollable,
            });
            fact.rows.insert(login.clone(), row);
            new.push(row);
        }
    }
    new
}

/// Ledger row of a message that a delivery reports to an account, which may not read the chat.
pub(crate) fn reported_row(
    world: &mut World,
    ledger: &Ledger,
    (login, container): (&str, u64),
    chat_id: &str,
    time: i64,
) -> Option<u64> {
    let chat = world.chats.get_mut(chat_id)?;
    if let Some(row) = chat.facts.row(login, time, 0) {
        return Some(row);
    }
    let fact = Fact {
        source: SOURCE,
        account: login.to_owned(),
        kind: posted_kind(chat),
        key: message_key(chat_id, time),
        at: time.div_euclid(1_000),
        container,
        webhook: false,
        pollable: false,
    };
    let row = ledger.record(fact);
    let place = chat.facts.by_place.entry((time, 0)).or_default();
    place.rows.insert(login.to_owned(), row);
    Some(row)
}

/// A later fact of a message, which no list shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// Time that the delivery states for the message, and time of the edit, in milliseconds.
    Edited(i64, i64),
    Deleted,
}

impl Change {
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Self::Edited(..) => "message_edited",
            Self::Deleted => "message_deleted",
        }
    }
}

/// Records a later fact of a message for everyone who reads its chat, and for these accounts.
///
/// Returns the ledger rows by login.
pub(crate) fn record_change(
    world: &World,
    ledger: &Ledger,
    chat: &Chat,
    (time, change, at): (i64, Change, i64),
    reported: &[(String, u64)],
) -> BTreeMap<String, u64> {
    let key = match change {
        Change::Edited(stated, edited) => {
            format!("{}:edited:{edited}", message_key(&chat.id, stated))
        }
        Change::Deleted => format!("{}:deleted", message_key(&chat.id, time)),
    };
    let accounts = readers(world, chat).into_iter();
    let accounts = accounts.chain(reported.iter().cloned());
    let record = |(login, container): (String, u64)| {
        let row = ledger.record(Fact {
            source: SOURCE,
            account: login.clone(),
            kind: change.operation(),
            key: key.clone(),
            at,
            container,
            webhook: false,
            pollable: false,
        });
        (login, row)
    };
    accounts.map(record).collect()
}

/// Records the creation of a channel for its members; returns the ledger rows of new facts.
pub(crate) fn settle_creation(world: &mut World, ledger: &Ledger, chat_id: &str) -> Vec<u64> {
    let Some(chat) = world.chats.get(chat_id) else {
        return Vec::new();
    };
    let (readers, at) = (readers(world, chat), chat.created);
    let Some(Kind::Channel(channel)) = world.chats.get_mut(chat_id).map(|chat| &mut chat.kind)
    else {
        return Vec::new();
    };
    let Some(rows) = &mut channel.creation else {
        return Vec::new();
    };
    let key = format!("{SOURCE}:channel:{}:created", channel.id);
    let mut new = Vec::new();
    for (login, container) in readers {
        if rows.contains_key(&login) {
            continue;
        }
        let row = ledger.record(Fact {
            source: SOURCE,
            account: login.clone(),
            kind: "channel_created",
            key: key.clone(),
            at,
            container,
            webhook: false,
            pollable: true,
        });
        rows.insert(login, row);
        new.push(row);
    }
    new
}

/// Records what a new member of a channel can read.
pub(crate) fn show_all(world: &mut World, ledger: &Ledger, chat_id: &str) -> Vec<u64> {
    let mut new = settle_creation(world, ledger, chat_id);
    for id in with_threads(world, chat_id) {
        let times = world.chats.get(&id).map(|chat| chat.facts.times());
        for time in times.unwrap_or_default() {
            new.extend(settle(world, ledger, &id, time));
        }
    }
    new
}

/// Hides what a person can no longer read; a later return records it again.
pub(crate) fn hide_all(world: &mut World, ledger: &Ledger, chat_id: &str, login: &str) {
    for id in with_threads(world, chat_id) {
        let Some(chat) = world.chats.get_mut(&id) else {
            continue;
        };
        ledger.hide(&chat.facts.rows_of(login));
        for fact in chat.facts.by_place.values_mut() {
            fact.rows.remove(login);
        }
        if let Kind::Channel(channel) = &mut chat.kind {
            let row = channel
                .creation
                .as_mut()
                .and_then(|rows| rows.remove(login));
            ledger.hide(row.as_slice());
        }
    }
}

/// Ids of a channel's chat and of its threads.
fn with_threads(world: &World, chat_id: &str) -> Vec<String> {
    let channel = world.chats.get(chat_id).and_then(Chat::channel);
    let threads = channel.map(|channel| channel.threads.clone());
    let own = std::iter::once(chat_id.to_owned());
    own.chain(threads.unwrap_or_default()).collect()
}
