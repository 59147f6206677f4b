//! People who join and leave channels, and changes of their profiles.

use serde_json::{Value, json};

use super::channels::is_open_channel;
use super::{ActionParams, Refusal, Transaction, describe};
use crate::zoho::cliq::chat::Author;
use crate::zoho::cliq::facts;

impl Transaction<'_> {
    /// The person who acts joins a channel, which gets a row about it.
    pub(super) fn join(&mut self, login: &str, params: &ActionParams) -> Result<Value, Refusal> {
        let actor = self.actor(login, params)?;
        let id = params.chat.as_ref().ok_or("no channel is named")?;
        let chat = self.world.find_chat(id).ok_or("unknown chat")?;
        if !is_open_channel(chat) || chat.members.contains(&actor) {
            return Err("the person cannot join the chat");
        }
        let id = chat.id.clone();
        self.change_membership(&id, &actor, true);
        let ledger = self.ledger();
        let new = facts::show_all(self.world, ledger, &id);
        self.facts.extend(new);
        self.write_info(&id, &Author::Person(actor), "joined the channel");
        Ok(describe(&self.world.chats[&id]))
    }

    /// The person who acts leaves a channel.
    pub(super) fn leave(&mut self, login: &str, params: &ActionParams) -> Result<Value, Refusal> {
        let actor = self.actor(login, params)?;
        let id = self.select_chat(&actor, params, |chat| {
            is_open_channel(chat) && chat.members.contains(&actor)
        })?;
        self.write_info(&id, &Author::Person(actor.clone()), "left the channel");
        self.change_membership(&id, &actor, false);
        let ledger = self.ledger();
        facts::hide_all(self.world, ledger, &id, &actor);
        Ok(describe(&self.world.chats[&id]))
    }

    fn change_membership(&mut self, id: &str, login: &str, is_in: bool) {
        let chat = self.world.chats.get_mut(id);
        let user = self.world.users.get_mut(login);
        let (Some(chat), Some(user)) = (chat, user) else {
            return;
        };
        if is_in {
            chat.members.insert(login.to_owned());
            user.chats.insert(id.to_owned());
        } else {
            chat.members.remove(login);
            user.chats.remove(id);
        }
        self.world.touch(id);
    }

    /// The person who acts changes the name in the profile to `title`.
    pub(super) fn change_user(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<Value, Refusal> {
        let actor = self.actor(login, params)?;
        let name = params.title.clone().ok_or("no name is given")?;
        let user = self.world.users.get_mut(&actor).ok_or("unknown person")?;
        user.first_name = name;
        user.modified = self.when.at;
        Ok(json!({ "login": user.login, "name": user.name() }))
    }
}
