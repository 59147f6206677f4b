//! Actions of people: changes of channels and chats, their facts and their deliveries.

mod channels;
mod deliver;
mod messages;
mod people;
mod threads;

use std::collections::BTreeSet;

use rand::seq::IndexedRandom;
use serde::Deserialize;
use serde_json::Value;

pub(super) use messages::is_writable;

use super::ZohoCliq;
use super::chat::{Author, Chat, Position, parse_message_id};
use super::world::World;
use crate::action::{ActionOutcome, ActionTime};
use crate::ledger::Ledger;

/// Reason why an action is impossible.
pub(super) type Refusal = &'static str;

/// Newest messages from which a random one is chosen.
const MAX_CANDIDATES: usize = 50;

/// Action and parameters of a control request.
///
/// Only `account` and `action` are required.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionParams {
    /// Login or address of a person, in whose chats it happens.
    pub(crate) account: String,
    pub(crate) action: String,
    /// Login or address of the person who acts; the account by default.
    pub(crate) actor: Option<String>,
    /// Id of the chat or channel.
    pub(crate) chat: Option<String>,
    /// Id of the message.
    pub(crate) message: Option<String>,
    pub(crate) text: Option<String>,
    /// Title of a channel, chat or thread.
    pub(crate) title: Option<String>,
    /// `organization`, `team`, `private` or `external`.
    pub(crate) level: Option<String>,
    /// Logins or addresses of people; `bot` is the bot of the account's extension.
    pub(crate) people: Option<Vec<String>>,
    /// People that the message mentions, in the same form.
    #[serde(default)]
    pub(crate) mentions: Vec<String>,
    /// Name of a file.
    pub(crate) file: Option<String>,
    /// Id of the message that the new one answers.
    pub(crate) reply_to: Option<String>,
    /// All messages of the action have one time.
    #[serde(default)]
    pub(crate) same_time: bool,
    /// The bot of the account's extension acts.
    #[serde(default)]
    pub(crate) as_bot: bool,
    /// Number of messages to post; one by default.
    pub(crate) count: Option<usize>,
}

/// Access to the world while an action changes it.
pub(crate) struct Transaction<'a> {
    pub(super) service: &'a ZohoCliq,
    pub(crate) world: &'a mut World,
    pub(super) when: ActionTime,
    /// Time of the action in milliseconds.
    pub(super) millis: i64,
    pub(super) facts: Vec<u64>,
    /// Ids of the deliveries.
    pub(super) deliveries: Vec<String>,
}

impl<'a> Transaction<'a> {
    pub(super) const fn new(
        service: &'a ZohoCliq,
        world: &'a mut World,
        when: ActionTime,
        millis: i64,
    ) -> Self {
        Self {
            service,
            world,
            when,
            millis,
            facts: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    pub(super) fn ledger(&self) -> &'a Ledger {
        &self.service.zoho.core.ledger
    }

    /// Performs an action in the chats of the person with this login.
    pub(crate) fn perform(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<ActionOutcome, Refusal> {
        if !self.world.users.contains_key(login) {
            return Err("unknown account");
        }
        let object = match params.action.as_str() {
            "channel.created" => self.create_channel(login, params),
            "channel.archived" => self.archive_channel(login, params, true),
            "channel.unarchived" => self.archive_channel(login, params, false),
            "chat.created" => self.create_conversation(login, params),
            "member.joined" => self.join(login, params),
            "member.left" => self.leave(login, params),
            "user.changed" => self.change_user(login, params),
            "message.posted" => self.post(login, params),
            "message.info" => self.post_info(login, params),
            "message.edited" => self.edit(login, params),
            "message.deleted" => self.delete(login, params),
            "bot.messaged" => self.message_bot(login, params),
            "bot.added" => self.add_bot(login, params),
            "bot.removed" => self.remove_bot(login, params),
            "thread.started" => self.start_thread(login, params),
            "thread.replied" => self.reply_in_thread(login, params),
            "thread.closed" => self.close_thread(login, params, true),
            "thread.reopened" => self.close_thread(login, params, false),
            _ => Err("unknown action"),
        }?;
        Ok(ActionOutcome {
            object,
            facts: std::mem::take(&mut self.facts),
        })
    }

    /// Login of the person who acts in the name of an account.
    fn actor(&self, login: &str, params: &ActionParams) -> Result<String, Refusal> {
        match &params.actor {
            Some(actor) => self.person(login, actor),
            None => Ok(login.to_owned()),
        }
    }

    /// Author of a message: the person who acts, or the bot of the account's extension.
    fn author(&self, login: &str, params: &ActionParams) -> Result<Author, Refusal> {
        if !params.as_bot {
            return self.actor(login, params).map(Author::Person);
        }
        let extension = self.service.extensions.of_account(login);
        let extension = extension.ok_or("the account has no extension")?;
        Ok(Author::Bot(
            extension.bot_id.clone(),
            extension.bot_name.clone(),
        ))
    }

    /// Login of a colleague by login or address.
    fn person(&self, login: &str, name: &str) -> Result<String, Refusal> {
        let colleagues = self.world.colleagues(login).into_iter();
        let mut found =
            colleagues.filter(|user| user.login == name || user.address.eq_ignore_ascii_case(name));
        let user = found.next().ok_or("unknown person")?;
        Ok(user.login.clone())
    }

    /// Logins of the named colleagues, or of all, with the person who acts.
    fn people(&self, login: &str, params: &ActionParams) -> Result<BTreeSet<String>, Refusal> {
        let own = self.actor(login, params)?;
        let mut people: BTreeSet<String> = match &params.people {
            Some(names) => {
                let logins = names.iter().map(|name| self.person(login, name));
                logins.collect::<Result<_, _>>()?
            }
            None => {
                let all = self.world.colleagues(login).into_iter();
                all.map(|user| user.login.clone()).collect()
            }
        };
        people.insert(own);
        Ok(people)
    }

    /// Id of the named chat, or of a random one of these kinds, which the person reads.
    fn select_chat(
        &mut self,
        login: &str,
        params: &ActionParams,
        accepts: impl Fn(&Chat) -> bool,
    ) -> Result<String, Refusal> {
        if let Some(id) = &params.chat {
            let chat = self.world.find_chat(id).ok_or("unknown chat")?;
            if !accepts(chat) {
                return Err("the chat is of another kind");
            }
            return Ok(chat.id.clone());
        }
        let chats: Vec<String> = self
            .world
            .chats_of(login)
            .into_iter()
            .filter(|chat| accepts(chat))
            .map(|chat| chat.id.clone())
            .collect();
        let chosen = chats.choose(&mut self.world.rng);
        chosen.cloned().ok_or("there is no such chat")
    }

    /// Chat and position of the named message, or of a random one that fits.
    fn select_message(
        &mut self,
        login: &str,
        params: &ActionParams,
        accepts: impl Fn(&super::chat::Message) -> bool,
    ) -> Result<(String, Position), Refusal> {
        let is_filled = |chat: &Chat| {
            let mut newest = chat.messages.values().rev().take(MAX_CANDIDATES);
            newest.any(&accepts)
        };
        let id = self.select_chat(login, params, |chat| {
            params.message.is_some() || is_filled(chat)
        })?;
        let chat = &self.world.chats[&id];
        if let Some(message) = &params.message {
            let position = parse_message_id(message).ok_or("unknown message")?;
            let message = chat.messages.get(&position).ok_or("unknown message")?;
            if !accepts(message) {
                return Err("the message is of another kind");
            }
            return Ok((id, position));
        }
        let newest = chat.messages.values().rev().take(MAX_CANDIDATES);
        let positions: Vec<Position> = newest
            .filter(|message| accepts(message))
            .map(|message| message.position)
            .collect();
        let chosen = positions.choose(&mut self.world.rng);
        let position = chosen.copied().ok_or("there is no such message")?;
        Ok((id, position))
    }

    /// Random text of a message.
    fn text(&mut self, params: &ActionParams) -> String {
        const TEXTS: [&str; 5] = [
            "The pump runs again.",
            "Who has the drawings of the second valve?",
            "I am on site until noon.",
            "Please look at ticket <42> & answer.",
            "Done, thanks!",
        ];
        let random = TEXTS.choose(&mut self.world.rng).copied();
        let text = params.text.as_deref().or(random);
        text.unwrap_or_default().to_owned()
    }
}

/// Object of an action on a chat.
fn describe(chat: &Chat) -> Value {
    serde_json::json!({
        "chat": chat.id, "title": chat.title,
        "channel": chat.channel().map(|channel| channel.id.as_str()),
        "parent": chat.thread().map(|thread| thread.parent.as_str()),
    })
}
