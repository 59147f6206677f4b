//! Bodies of deliveries: Cliq's own, and those of a Deluge script.
//!
//! Source: the templates of Zoho Catalyst's command line for bots, and "Message Details Object".

use serde_json::{Value, json};

use super::chat::{Author, Chat, Kind, Mention, Message};
use super::extensions::Extension;
use super::settings::Settings;
use super::world::{User, World};

/// Added to the ids of people in deliveries whose ids differ from those in lists.
const OTHER_ID_OFFSET: u64 = 1_000_000_000;

/// Handler of a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handler {
    /// What happens in a channel that the bot is in.
    Participation,
    /// A message that mentions the bot.
    Mention,
    /// A message to the bot.
    Message,
}

impl Handler {
    /// Name in a Deluge script's body.
    const fn short_name(self) -> &'static str {
        match self {
            Self::Participation => "participation",
            Self::Mention => "mention",
            Self::Message => "message",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Participation => "participation_handler",
            Self::Mention => "mention_handler",
            Self::Message => "message_handler",
        }
    }
}

/// A call of a handler.
pub(super) struct HandlerCall<'a> {
    pub(super) handler: Handler,
    pub(super) extension: &'a Extension,
    pub(super) chat: &'a Chat,
    /// Who did it.
    pub(super) actor: &'a Author,
    /// Operation of a participation.
    pub(super) operation: &'a str,
    pub(super) message: Option<&'a Message>,
    /// Time in the data, in milliseconds.
    pub(super) time: i64,
    /// Time of the delivery, in milliseconds.
    pub(super) timestamp: i64,
}

/// Context of all bodies.
pub(super) struct Envelope<'a> {
    pub(super) world: &'a World,
    pub(super) settings: &'a Settings,
    /// Base URL of the data centre.
    pub(super) server: &'a str,
}

impl Envelope<'_> {
    /// Body of a call, by Cliq or by a Deluge script.
    pub(super) fn body(&self, call: &HandlerCall<'_>) -> Value {
        if call.extension.token.is_some() {
            return self.script_body(call);
        }
        let mut params = json!({
            "environment": self.environment(call.chat),
            "access": self.access(call),
            "user": self.user(call.actor),
            "chat": self.chat(call.chat),
        });
        match (call.handler, call.message) {
            (Handler::Participation, message) => {
                let message = message.map(|message| self.message(call.chat, message));
                params["operation"] = json!(call.operation);
                params["data"] = json!({ "time": call.time });
                if let Some(message) = message {
                    params["data"]["message"] = message;
                }
            }
            (Handler::Mention, Some(message)) => {
                let mut details = self.message(call.chat, message);
                details["sender"] = self.user(&message.author);
                details["time"] = json!(message.time().to_string());
                params["message"] = details;
                params["mentions"] = mentions(&message.mentions);
            }
            (Handler::Message, Some(message)) => {
                params["message"] = json!(message.text);
                params["message_details"] = json!({
                    "time": message.time(), "message": self.message(call.chat, message),
                });
                let files = message.file.iter();
                params["attachments"] = files.map(|file| json!(file.name)).collect();
                params["mentions"] = mentions(&message.mentions);
            }
            (_, None) => {}
        }
        let extension = call.extension;
        json!({
            "name": extension.bot_name, "unique_name": extension.bot_name.to_lowercase(),
            "handler": { "type": call.handler.name() },
            "response_url": format!(
                "{}/v2/extensions/{}/responses/{}", self.server, extension.id, call.timestamp
            ),
            "type": "bot", "timestamp": call.timestamp, "params": params,
        })
    }

    /// Body of a script that sends what its handler got.
    fn script_body(&self, call: &HandlerCall<'_>) -> Value {
        let chat = call.chat;
        let mut body = json!({
            "handler": call.handler.short_name(), "timestamp": call.timestamp,
            "user": self.script_user(call.actor),
            "chat": { "id": chat.id, "type": chat_type(chat), "title": chat.title },
        });
        let is_plain = self.settings.deluge_plain_messages;
        match (call.handler, call.message) {
            (Handler::Participation, message) => {
                body["operation"] = json!(call.operation);
                body["data"] = json!({ "time": call.time });
                if let Some(message) = message {
                    body["data"]["message"] = self.message(chat, message);
                }
            }
            (_, Some(message)) => {
                body["message"] = json!(message.text);
                if call.handler == Handler::Mention {
                    body["mentions"] = mentions(&message.mentions);
                }
                if !is_plain {
                    body["message_details"] = json!({
                        "time": message.time(), "message": self.message(chat, message),
                    });
                }
            }
            (_, None) => {}
        }
        body
    }

    fn environment(&self, chat: &Chat) -> Value {
        let data_center = chat.data_center.name();
        json!({
            "tld": format!(".{data_center}"), "data_center": data_center.to_uppercase(),
            "base_url": format!("{}/company/{}", self.server, chat.organization),
        })
    }

    fn access(&self, call: &HandlerCall<'_>) -> Value {
        let organization = call.chat.organization.to_string();
        let user = self.author_id(call.actor);
        json!({
            "user_id": user, "zoho_user_id": user,
            "organization": { "type": "company", "id": organization },
            "user_agent": "Mozilla/5.0", "chat_id": call.chat.id,
        })
    }

    fn person(&self, author: &Author) -> Option<&User> {
        match author {
            Author::Person(login) => self.world.users.get(login),
            Author::Bot(..) => None,
        }
    }

    /// Id of an author in deliveries.
    fn author_id(&self, author: &Author) -> String {
        match author {
            Author::Bot(id, _) => id.clone(),
            Author::Person(_) => self.person(author).map_or_else(String::new, |user| {
                let zuid: u64 = user.zuid.parse().unwrap_or_default();
                let is_other = self.settings.delivers_other_user_ids;
                let offset = if is_other { OTHER_ID_OFFSET } else { 0 };
                (zuid + offset).to_string()
            }),
        }
    }

    /// An author with a profile.
    fn user(&self, author: &Author) -> Value {
        let id = self.author_id(author);
        let Some(user) = self.person(author) else {
            let name = author_name(self.world, author);
            return json!({ "id": id, "first_name": name, "last_name": "" });
        };
        let (zone, _) = user.data_center.time_zone();
        json!({
            "id": id, "zoho_user_id": user.zuid, "first_name": user.first_name,
            "last_name": user.last_name, "email": user.address, "admin": user.is_administrator,
            "organization_id": user.organization.to_string(), "timezone": zone,
            "language": "en", "country": "us",
        })
    }

    fn script_user(&self, author: &Author) -> Value {
        let address = self.person(author).map(|user| user.address.as_str());
        json!({
            "id": self.author_id(author), "name": author_name(self.world, author),
            "email": address.unwrap_or_default(),
        })
    }

    fn chat(&self, chat: &Chat) -> Value {
        let members = self.world.home(chat).members.iter();
        let members = members.filter_map(|login| self.world.users.get(login));
        let members = members.map(|user| {
            let id = self.author_id(&Author::Person(user.login.clone()));
            json!({
                "id": id, "first_name": user.first_name, "last_name": user.last_name,
                "email": user.address, "status": "0",
            })
        });
        json!({
            "id": chat.id, "type": chat_type(chat), "title": chat.title,
            "owner": self.author_id(&Author::Person(chat.creator.clone())),
            "members": members.collect::<Vec<_>>(), "recent_messages": [],
        })
    }

    /// A message in a delivery, which has no id.
    fn message(&self, chat: &Chat, message: &Message) -> Value {
        let mut body = json!({
            "type": message.kind(), "mentions": mentions(&message.mentions),
        });
        match &message.file {
            Some(file) => {
                body["file"] =
                    json!({ "id": file.id, "name": file.name, "type": mime(&file.name) });
                body["comment"] = json!(message.text);
            }
            None => body["text"] = json!(message.text),
        }
        if let Some(replied) = replied_message(self.world, chat, message) {
            body["replied_message"] = replied;
        }
        body
    }
}

/// Type of a chat in deliveries.
const fn chat_type(chat: &Chat) -> &'static str {
    match chat.kind {
        Kind::Channel(_) => "channel",
        Kind::Thread(_) => "thread",
        Kind::Direct => "dm",
        Kind::Group => "chat",
        Kind::Bot => "bot",
    }
}

/// Name of an author.
pub(super) fn author_name(world: &World, author: &Author) -> String {
    match author {
        Author::Bot(_, name) => name.clone(),
        Author::Person(login) => {
            let user = world.users.get(login);
            user.map_or_else(String::new, User::name)
        }
    }
}

/// Id of an author in lists.
pub(super) fn author_id(world: &World, author: &Author) -> String {
    match author {
        Author::Bot(id, _) => id.clone(),
        Author::Person(login) => {
            let user = world.users.get(login);
            user.map_or_else(String::new, |user| user.zuid.clone())
        }
    }
}

/// People and bots that a message mentions.
pub(super) fn mentions(all: &[Mention]) -> Value {
    let mentions = all.iter().map(|mention| {
        let kind = if mention.is_bot { "bot" } else { "user" };
        json!({ "id": mention.id, "name": mention.name, "type": kind })
    });
    mentions.collect()
}

/// The message that another one answers; `None` if it answers none or an unknown one.
pub(super) fn replied_message(world: &World, chat: &Chat, message: &Message) -> Option<Value> {
    let replied = chat.messages.get(&message.reply_to?)?;
    Some(json!({
        "sender": {
            "id": author_id(world, &replied.author), "name": author_name(world, &replied.author),
        },
        "time": replied.time(), "id": replied.id(), "text": replied.text,
        "type": replied.kind(), "mentions": mentions(&replied.mentions),
    }))
}

/// MIME type of a file by its name.
pub(super) fn mime(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "png")) => "image/png",
        Some((_, "pdf")) => "application/pdf",
        _ => "text/plain",
    }
}
