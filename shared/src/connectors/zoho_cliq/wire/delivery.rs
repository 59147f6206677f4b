//! Deliveries of bot handlers: from extensions, and from Deluge scripts.
//!
//! An extension's fields are in `params`; a Deluge handler sends them at the top, as JSON or, if
//! its script passes them as parameters, as a form.

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::id::chat_id;
use super::{Attachment, Mention, Message, Person, Timestamp};
use crate::connectors::wire::{Json, id, lenient, or_default, rows, text};

/// End of the names of handlers in an extension's envelope.
const HANDLER_SUFFIX: &str = "_handler";

/// Kind of a bot's handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Handler {
    /// An event in a channel that the bot is in.
    Participation,
    /// A message that mentions the bot.
    Mention,
    /// A message to the bot.
    Message,
    /// Any other, such as a menu or a form.
    Other,
}

impl Handler {
    /// Its name in event names.
    pub(in super::super) const fn name(self) -> &'static str {
        match self {
            Self::Participation => "participation",
            Self::Mention => "mention",
            Self::Message => "message",
            Self::Other => "other",
        }
    }

    fn parse(name: &str) -> Self {
        match name.strip_suffix(HANDLER_SUFFIX).unwrap_or(name) {
            "participation" => Self::Participation,
            "mention" => Self::Mention,
            "message" => Self::Message,
            _ => Self::Other,
        }
    }
}

/// A delivery.
#[derive(Debug)]
pub(in super::super) struct Delivery {
    pub(in super::super) handler: Handler,
    /// The bot's name.
    pub(in super::super) bot: Option<String>,
    /// When it was sent.
    pub(in super::super) timestamp: Option<Timestamp>,
    pub(in super::super) params: Params,
    /// The body; rebuilt as an object if it was a form.
    pub(in super::super) raw: Box<RawValue>,
}

/// The fields of a handler.
#[derive(Debug, Default, Deserialize)]
pub(in super::super) struct Params {
    #[serde(default, deserialize_with = "text")]
    operation: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    data: Data,
    #[serde(default, deserialize_with = "or_default")]
    message: Value,
    #[serde(default, deserialize_with = "or_default")]
    message_details: Data,
    #[serde(default, deserialize_with = "rows")]
    attachments: Vec<Attachment>,
    #[serde(default, deserialize_with = "rows")]
    mentions: Vec<Mention>,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) user: Person,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) chat: ChatInfo,
    #[serde(default, deserialize_with = "or_default")]
    access: Access,
    #[serde(default, deserialize_with = "or_default")]
    organization: Organization,
    /// The same as the envelope's, of a Deluge handler.
    #[serde(default, deserialize_with = "lenient")]
    timestamp: Option<Timestamp>,
    /// Whether they are those of an extension's envelope, whose JSON Zoho itself writes.
    #[serde(skip)]
    is_by_zoho: bool,
}

/// A message with its time.
#[derive(Debug, Default, Deserialize)]
struct Data {
    #[serde(default, deserialize_with = "or_default")]
    message: Value,
    #[serde(default, deserialize_with = "lenient")]
    time: Option<Timestamp>,
}

/// The chat of a delivery.
#[derive(Debug, Default, Deserialize)]
pub(in super::super) struct ChatInfo {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(rename = "type", default, deserialize_with = "text")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "text")]
    chat_type: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(in super::super) title: Option<String>,
}

impl ChatInfo {
    /// Whether it is a channel.
    pub(in super::super) fn is_channel(&self) -> bool {
        self.kinds().any(|kind| kind == "channel")
    }

    /// Whether the delivery says what it is.
    pub(in super::super) fn has_kind(&self) -> bool {
        self.kinds().next().is_some()
    }

    fn kinds(&self) -> impl Iterator<Item = &str> {
        let kinds = [&self.kind, &self.chat_type];
        kinds.into_iter().filter_map(Option::as_deref)
    }
}

#[derive(Debug, Default, Deserialize)]
struct Access {
    #[serde(default, deserialize_with = "text")]
    chat_id: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    organization: Organization,
}

#[derive(Debug, Default, Deserialize)]
struct Organization {
    #[serde(default, deserialize_with = "id")]
    id: Option<String>,
}

impl Params {
    /// The id of the chat.
    pub(in super::super) fn chat_id(&self) -> Option<String> {
        let id = self.chat.id.as_ref().or(self.access.chat_id.as_ref());
        id.map(|id| chat_id(id).into_owned())
            .filter(|id| !id.is_empty())
    }

    /// The id of the organization that the bot belongs to.
    pub(in super::super) fn organization(&self) -> Option<&str> {
        let id = self.access.organization.id.as_deref();
        id.or(self.organization.id.as_deref())
    }

    /// The message that happened, or was edited or deleted, in a channel, with its time.
    pub(in super::super) fn happened(&self) -> (Message, Option<Timestamp>) {
        let message = Message::of(self.data.message.clone()).unwrap_or_default();
        let time = self.data.time.or_else(|| message.time());
        (self.complete(message), time)
    }

    /// The message that mentions the bot, with its time.
    pub(in super::super) fn mentioning(&self) -> (Message, Option<Timestamp>) {
        let (message, time) = self.detailed([&self.message]);
        let time = time.or_else(|| message.time());
        (self.complete(message), time)
    }

    /// The message that a person typed to the bot, with its time.
    ///
    /// All of its text is the person's. A script may have turned it into the JSON that it looks
    /// like, so it names neither the author nor the time.
    pub(in super::super) fn typed(&self) -> (Message, Option<Timestamp>) {
        let (mut message, time) = self.detailed([]);
        let typed = match &self.message {
            Value::Null => None,
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            other => Some(other.to_string()),
        };
        if let Some(text) = typed {
            message.set_text(text);
        }
        message.sender = self.user.clone();
        (message.with_attachments(self.attachments.clone()), time)
    }

    /// The message of these values or of the details, with the time that the details state.
    fn detailed<const N: usize>(&self, values: [&Value; N]) -> (Message, Option<Timestamp>) {
        let details = [&self.message_details, &self.data];
        let nested = details.iter().map(|data| &data.message);
        let values = nested.chain(values).cloned();
        // The object has the type and the time, which the text alone lacks.
        let (objects, texts): (Vec<Value>, Vec<Value>) = values.partition(Value::is_object);
        let message = objects.into_iter().chain(texts).find_map(Message::of);
        let time = details.iter().find_map(|data| data.time);
        (message.unwrap_or_default(), time)
    }

    /// The message with its author and attachments.
    ///
    /// A script may turn a text into the JSON that it looks like, so a message that it sends does
    /// not name its author: `user`, which Zoho fills, does.
    fn complete(&self, mut message: Message) -> Message {
        if !self.is_by_zoho || message.sender.id.is_none() {
            message.sender = self.user.clone();
        }
        message.with_attachments(self.attachments.clone())
    }

    /// The mentions that a delivery lists beside the message.
    pub(in super::super) fn mentions(&self) -> Vec<Mention> {
        self.mentions.clone()
    }
}

/// Fields of an extension's envelope.
#[derive(Debug, Default, Deserialize)]
struct Envelope {
    #[serde(default, deserialize_with = "text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    handler: Value,
    #[serde(default, deserialize_with = "lenient")]
    timestamp: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    params: Option<Params>,
}

impl Delivery {
    /// Parses a body; `None` if it is neither a JSON object nor a form.
    pub(in super::super) fn parse(body: &[u8]) -> Option<Self> {
        let json = Json::of(body);
        if json.is_object() {
            let raw: Box<RawValue> = json.read().ok()?;
            return Self::of_json(raw);
        }
        if json.is_json() {
            return None;
        }
        Self::of_json(to_raw_value(&form_fields(body)?).ok()?)
    }

    fn of_json(raw: Box<RawValue>) -> Option<Self> {
        let json = Json::of(raw.get());
        let envelope: Envelope = json.read().ok()?;
        let params = match envelope.params {
            Some(params) => Params {
                is_by_zoho: true,
                ..params
            },
            None => json.read().ok()?,
        };
        let handler = &envelope.handler;
        let named = handler["type"].as_str().or(handler.as_str());
        let handler = match (named, &params.operation) {
            (Some(name), _) => Handler::parse(name),
            (None, Some(_)) => Handler::Participation,
            (None, None) => Handler::Other,
        };
        Some(Self {
            handler,
            bot: envelope.name,
            timestamp: envelope.timestamp.or(params.timestamp),
            params,
            raw,
        })
    }

    /// The operation of a participation.
    pub(in super::super) fn operation(&self) -> Option<&str> {
        let operation = self.params.operation.as_deref();
        operation.filter(|_| self.handler == Handler::Participation)
    }
}

/// The fields of a form, each parsed as JSON if it is an object or a list.
///
/// The message of a message handler is what a person typed, also if that looks like JSON.
fn form_fields(body: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(body).ok()?;
    if !text.contains('=') {
        return None;
    }
    let is_typed = url::form_urlencoded::parse(body)
        .any(|(name, value)| name == "handler" && Handler::parse(&value) == Handler::Message);
    let field = |name: &str, value: &str| {
        let is_text = is_typed && name == "message";
        let is_json = !is_text && value.trim_start().starts_with(['{', '[']);
        let parsed = is_json.then(|| serde_json::from_str(value).ok()).flatten();
        parsed.unwrap_or_else(|| Value::from(value))
    };
    let pairs = url::form_urlencoded::parse(body);
    Some(
        pairs
            .map(|(name, value)| (name.to_string(), field(&name, &value)))
            .collect(),
    )
}
