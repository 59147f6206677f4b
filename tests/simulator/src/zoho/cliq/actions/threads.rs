//! Threads of channels.

use std::collections::BTreeSet;

use serde_json::Value;

use super::channels::is_open_channel;
use super::{ActionParams, Refusal, Transaction, describe};
use crate::zoho::cliq::chat::{Author, Chat, Kind, Thread};
use crate::zoho::cliq::world::NewChat;

fn is_thread(chat: &Chat, is_closed: bool) -> bool {
    let thread = chat.thread();
    thread.is_some_and(|thread| thread.is_closed == is_closed)
}

impl Transaction<'_> {
    /// Starts a thread with a first reply to a message of a channel.
    pub(super) fn start_thread(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<Value, Refusal> {
        let actor = self.actor(login, params)?;
        let channel = self.select_chat(login, params, |chat| {
            is_open_channel(chat) && chat.messages.values().any(|message| !message.is_info)
        })?;
        let within = ActionParams {
            chat: Some(channel),
            ..params.clone()
        };
        let (parent, main) = self.select_message(login, &within, |message| !message.is_info)?;
        let text = &self.world.chats[&parent].messages[&main].text;
        let new = NewChat {
            creator: &actor,
            title: params.title.clone().unwrap_or_else(|| text.clone()),
            members: BTreeSet::new(),
            created: self.millis.div_euclid(1_000),
        };
        let bots = self.world.chats[&parent].bots.clone();
        let id = self.world.add_thread(
            new,
            Thread {
                parent,
                main,
                is_closed: false,
                followers: BTreeSet::from([actor.clone()]),
            },
        );
        // Bots of the channel follow its threads.
        if let Some(thread) = self.world.chats.get_mut(&id) {
            thread.bots = bots;
        }
        let author = Author::Person(actor);
        self.call_participation(&id, &author, "auto_followed_thread", None);
        let first = ActionParams {
            message: None,
            ..params.clone()
        };
        let mut object = self.post_to(&id, login, &author, &first)?;
        object["thread"] = describe(&self.world.chats[&id]);
        Ok(object)
    }

    /// Replies in a thread, which a channel gets if it has none.
    pub(super) fn reply_in_thread(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<Value, Refusal> {
        let author = self.author(login, params)?;
        let id = match self.select_chat(login, params, |chat| is_thread(chat, false)) {
            Ok(id) => id,
            Err(_) if params.chat.is_none() => return self.start_thread(login, params),
            Err(refusal) => return Err(refusal),
        };
        if let (Some(Kind::Thread(thread)), Author::Person(actor)) = (
            self.world.chats.get_mut(&id).map(|one| &mut one.kind),
            &author,
        ) {
            thread.followers.insert(actor.clone());
        }
        self.post_to(&id, login, &author, params)
    }

    pub(super) fn close_thread(
        &mut self,
        login: &str,
        params: &ActionParams,
        closes: bool,
    ) -> Result<Value, Refusal> {
        let actor = self.actor(login, params)?;
        let id = self.select_chat(login, params, |chat| is_thread(chat, !closes))?;
        if let Some(Kind::Thread(thread)) = self.world.chats.get_mut(&id).map(|one| &mut one.kind) {
            thread.is_closed = closes;
        }
        let operation = if closes {
            "thread_closed"
        } else {
            "thread_reopened"
        };
        self.call_participation(&id, &Author::Person(actor), operation, None);
        Ok(describe(&self.world.chats[&id]))
    }
}
