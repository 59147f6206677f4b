//! Channels, conversations, and the bots in them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ActionParams, Refusal, Transaction, describe};
use crate::zoho::cliq::chat::{Author, Chat, Kind, Level};
use crate::zoho::cliq::facts;
use crate::zoho::cliq::world::NewChat;

const NAMES: [&str; 4] = ["pumps", "valves", "site visits", "night shift"];

/// Whether a chat is a channel that is in use.
pub(super) fn is_open_channel(chat: &Chat) -> bool {
    chat.channel().is_some_and(|channel| !channel.is_archived)
}

impl Transaction<'_> {
    pub(super) fn create_channel(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<Value, Refusal> {
        let level = match &params.level {
            Some(level) => Level::parse(level).ok_or("unknown level")?,
            None => Level::Organization,
        };
        let creator = self.actor(login, params)?;
        let members = self.people(login, params)?;
        let number = self.world.channels.len();
        let title = params.title.clone();
        let title = title.unwrap_or_else(|| format!("{} {number}", NAMES[number % NAMES.len()]));
        let new = NewChat {
            creator: &creator,
            title: format!("#{}", title.trim_start_matches('#')),
            members,
            created: self.millis.div_euclid(1_000),
        };
        let id = self.world.add_channel(new, level);
        if let Some(Kind::Channel(channel)) = self.world.chats.get_mut(&id).map(|one| &mut one.kind)
        {
            channel.creation = Some(BTreeMap::new());
        }
        let ledger = self.ledger();
        let new = facts::settle_creation(self.world, ledger, &id);
        self.facts.extend(new);
        Ok(describe(&self.world.chats[&id]))
    }

    pub(super) fn archive_channel(
        &mut self,
        login: &str,
        params: &ActionParams,
        archived: bool,
    ) -> Result<Value, Refusal> {
        let id = self.select_chat(login, params, |chat| {
            let channel = chat.channel();
            channel.is_some_and(|channel| channel.is_archived != archived)
        })?;
        if let Some(Kind::Channel(channel)) = self.world.chats.get_mut(&id).map(|one| &mut one.kind)
        {
            channel.is_archived = archived;
        }
        self.world.touch(&id);
        Ok(describe(&self.world.chats[&id]))
    }

    /// Creates a chat of two people, or of more; two people have one chat only.
    pub(super) fn create_conversation(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<Value, Refusal> {
        let creator = self.actor(login, params)?;
        let members = self.people(login, params)?;
        if members.len() < 2 {
            return Err("a chat has two people or more");
        }
        let is_same = |chat: &&Chat| matches!(chat.kind, Kind::Direct) && chat.members == members;
        if let Some(chat) = self.world.chats_of(&creator).into_iter().find(is_same) {
            return Ok(describe(chat));
        }
        let names = members
            .iter()
            .filter_map(|login| self.world.users.get(login));
        let names: Vec<String> = names.map(|user| user.name()).collect();
        let new = NewChat {
            creator: &creator,
            title: params.title.clone().unwrap_or_else(|| names.join(", ")),
            members,
            created: self.millis.div_euclid(1_000),
        };
        let id = self.world.add_conversation(new);
        Ok(describe(&self.world.chats[&id]))
    }

    /// Adds the bot of the account's extension to a channel or thread.
    pub(super) fn add_bot(&mut self, login: &str, params: &ActionParams) -> Result<Value, Refusal> {
        self.change_bot(login, params, true)
    }

    pub(super) fn remove_bot(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<Value, Refusal> {
        self.change_bot(login, params, false)
    }

    fn change_bot(
        &mut self,
        login: &str,
        params: &ActionParams,
        adds: bool,
    ) -> Result<Value, Refusal> {
        let actor = self.actor(login, params)?;
        let extension = self.service.extensions.of_account(login);
        let extension = extension.ok_or("the account has no extension")?;
        let fits = |chat: &Chat| chat.bots.contains(&extension.id) != adds;
        let id = self.select_chat(login, params, |chat| {
            let is_named_thread = params.chat.is_some() && chat.thread().is_some();
            (is_open_channel(chat) || is_named_thread) && fits(chat)
        })?;
        let is_thread = self.world.chats[&id].thread().is_some();
        let operation = match (is_thread, adds) {
            (false, true) => "added",
            (false, false) => "removed",
            (true, true) => "added_in_thread",
            (true, false) => "removed_from_thread",
        };
        let author = Author::Person(actor);
        if adds {
            self.put_bot(&id, &extension.id, true);
        }
        self.call_participation(&id, &author, operation, Some(&extension.id));
        if !adds {
            self.put_bot(&id, &extension.id, false);
        }
        Ok(describe(&self.world.chats[&id]))
    }

    fn put_bot(&mut self, chat: &str, extension: &str, is_in: bool) {
        if let Some(chat) = self.world.chats.get_mut(chat) {
            if is_in {
                chat.bots.insert(extension.to_owned());
            } else {
                chat.bots.remove(extension);
            }
        }
    }
}
