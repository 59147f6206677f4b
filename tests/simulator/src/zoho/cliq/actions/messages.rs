//! Messages: posted, edited, deleted, and written by Cliq itself.

use std::collections::BTreeSet;

use rand::RngExt;
use serde_json::{Value, json};

use super::{ActionParams, Refusal, Transaction};
use crate::clock::Clock;
use crate::zoho::cliq::chat::{Attachment, Author, Chat, Kind, Mention, Message, parse_message_id};
use crate::zoho::cliq::facts::{self, Change};
use crate::zoho::cliq::world::NewChat;

/// Name that means the bot of the account's extension.
const BOT: &str = "bot";

/// Whether a person can write to a chat.
pub(in crate::zoho::cliq) const fn is_writable(chat: &Chat) -> bool {
    match &chat.kind {
        Kind::Channel(channel) => !channel.is_archived,
        Kind::Direct | Kind::Group => true,
        Kind::Bot => false,
        Kind::Thread(thread) => !thread.is_closed,
    }
}

impl Transaction<'_> {
    /// Posts messages to a channel or conversation, or to the named thread.
    pub(super) fn post(&mut self, login: &str, params: &ActionParams) -> Result<Value, Refusal> {
        let author = self.author(login, params)?;
        let id = self.select_chat(login, params, |chat| {
            is_writable(chat) && (params.chat.is_some() || chat.thread().is_none())
        })?;
        self.post_to(&id, login, &author, params)
    }

    /// Posts messages to a chat, with their facts and deliveries.
    pub(super) fn post_to(
        &mut self,
        id: &str,
        login: &str,
        author: &Author,
        params: &ActionParams,
    ) -> Result<Value, Refusal> {
        if let Author::Person(person) = author
            && !self.world.reads(person, &self.world.chats[id])
        {
            return Err("the person is not in the chat");
        }
        let reply_to = match &params.reply_to {
            Some(message) => {
                let messages = &self.world.chats[id].messages;
                let position = parse_message_id(message);
                let known = position.filter(|position| messages.contains_key(position));
                Some(known.ok_or("unknown message")?)
            }
            None => None,
        };
        let mentions = self.mentions(login, &params.mentions)?;
        let (mut ids, mut shared) = (Vec::new(), None);
        for _ in 0..params.count.unwrap_or(1) {
            let mut text = self.text(params);
            for mention in &mentions {
                text = format!("@{} {text}", mention.name);
            }
            let file = params.file.as_ref().map(|name| Attachment {
                id: hex::encode(self.world.rng.random::<[u8; 32]>()),
                name: name.clone(),
            });
            let message = Message {
                position: (0, 0),
                author: author.clone(),
                text,
                is_info: false,
                file,
                mentions: mentions.clone(),
                reply_to,
                revision: 0,
            };
            let position = self.insert(id, message, shared);
            shared = params.same_time.then_some(position.0);
            ids.push(self.world.chats[id].messages[&position].id());
            let ledger = self.ledger();
            let new = facts::settle(self.world, ledger, id, position.0);
            self.facts.extend(new);
            self.deliver_message(id, position);
        }
        Ok(json!({ "chat": id, "id": ids.last(), "ids": ids }))
    }

    fn mentions(&self, login: &str, names: &[String]) -> Result<Vec<Mention>, Refusal> {
        let mention = |name: &String| {
            if name == BOT {
                let extension = self.service.extensions.of_account(login);
                let extension = extension.ok_or("the account has no extension")?;
                return Ok(Mention {
                    id: extension.bot_id.clone(),
                    name: extension.bot_name.clone(),
                    is_bot: true,
                });
            }
            let user = &self.world.users[&self.person(login, name)?];
            Ok(Mention {
                id: user.zuid.clone(),
                name: user.name(),
                is_bot: false,
            })
        };
        names.iter().map(mention).collect()
    }

    /// Adds a message to a chat and returns its position.
    ///
    /// Its time is the given one, or that of the action, but later than the last message.
    fn insert(&mut self, id: &str, mut message: Message, time: Option<i64>) -> (i64, u64) {
        let chat = self.world.chats.get_mut(id).expect("the chat exists");
        let last = chat.last_message().map_or(i64::MIN, Message::time);
        let time = time.unwrap_or(self.millis.max(last.saturating_add(1)));
        // The number of digits varies from message to message, and numbers do not grow.
        let digits = self.world.rng.random_range(11..=15);
        let lowest = 10_u64.pow(digits - 1);
        let mut number = self.world.rng.random_range(lowest..lowest * 10);
        while chat.messages.contains_key(&(time, number)) {
            number += 1;
        }
        message.position = (time, number);
        chat.active = chat.active.max(time);
        chat.messages.insert((time, number), message);
        let parent = chat.thread().map(|thread| thread.parent.clone());
        self.world.touch(id);
        if let Some(parent) = parent
            && self.service.settings().replies_touch_channel
        {
            if let Some(channel) = self.world.chats.get_mut(&parent) {
                channel.active = channel.active.max(time);
            }
            self.world.touch(&parent);
        }
        (time, number)
    }

    /// Cliq writes a row of its own, which is no fact.
    pub(super) fn post_info(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<Value, Refusal> {
        let author = self.author(login, params)?;
        let id = self.select_chat(login, params, is_writable)?;
        let text = self.text(params);
        let message = self.write_info(&id, &author, &text);
        Ok(json!({ "chat": id, "id": message }))
    }

    /// Adds a row of Cliq's own to a chat and returns its id.
    pub(super) fn write_info(&mut self, id: &str, author: &Author, text: &str) -> String {
        let message = Message {
            position: (0, 0),
            author: author.clone(),
            text: text.to_owned(),
            is_info: true,
            file: None,
            mentions: Vec::new(),
            reply_to: None,
            revision: 0,
        };
        let position = self.insert(id, message, None);
        self.world.chats[id].messages[&position].id()
    }

    /// Edits a message; only a delivery shows that.
    pub(super) fn edit(&mut self, login: &str, params: &ActionParams) -> Result<Value, Refusal> {
        let (id, position) = self.select_message(login, params, |message| !message.is_info)?;
        let text = self.text(params);
        let chat = self.world.chats.get_mut(&id).ok_or("unknown chat")?;
        let message = chat.messages.get_mut(&position).ok_or("unknown message")?;
        message.revision += 1;
        message.text = format!("{text} (edit {})", message.revision);
        let message = message.clone();
        let edited = self.stated_time();
        let stated = if self.service.settings().edits_state_own_time {
            edited
        } else {
            position.0
        };
        let change = Change::Edited(stated, edited);
        self.deliver_change(&id, &message, change, (stated, edited));
        Ok(json!({ "chat": id, "id": message.id(), "timestamp": edited }))
    }

    /// Deletes a message, which no list shows from now on.
    pub(super) fn delete(&mut self, login: &str, params: &ActionParams) -> Result<Value, Refusal> {
        let (id, position) = self.select_message(login, params, |message| !message.is_info)?;
        let chat = self.world.chats.get_mut(&id).ok_or("unknown chat")?;
        let message = chat.messages.remove(&position).ok_or("unknown message")?;
        let ledger = self.ledger();
        facts::settle(self.world, ledger, &id, position.0);
        let timestamp = self.stated_time();
        self.deliver_change(&id, &message, Change::Deleted, (position.0, timestamp));
        Ok(json!({ "chat": id, "id": message.id() }))
    }

    /// Time of a delivery in milliseconds, which no other delivery has.
    ///
    /// The receiver compares it with the system clock, not with the simulated one.
    pub(super) fn stated_time(&mut self) -> i64 {
        self.world.stated = Clock::system_milliseconds().max(self.world.stated + 1);
        self.world.stated
    }

    /// The person who acts writes to the bot of the account's extension.
    pub(super) fn message_bot(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<Value, Refusal> {
        let actor = self.actor(login, params)?;
        let extension = self.service.extensions.of_account(login);
        let extension = extension.ok_or("the account has no extension")?;
        let known = self.world.chats_of(&actor).into_iter();
        let mut known = known
            .filter(|chat| matches!(chat.kind, Kind::Bot) && chat.bots.contains(&extension.id));
        let id = if let Some(chat) = known.next() {
            chat.id.clone()
        } else {
            let id = self.world.add_bot_chat(NewChat {
                creator: &actor,
                title: extension.bot_name.clone(),
                members: BTreeSet::from([actor.clone()]),
                created: self.millis.div_euclid(1_000),
            });
            if let Some(chat) = self.world.chats.get_mut(&id) {
                chat.bots.insert(extension.id.clone());
            }
            id
        };
        self.post_to(&id, login, &Author::Person(actor), params)
    }
}
