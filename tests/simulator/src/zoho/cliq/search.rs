//! Search for messages in version 3, whose message ids are bare times.

use serde_json::{Value, json};

use super::api::{Answer, Call};
use super::chat::{Author, Chat, Kind, Level, Message, message_id};
use super::envelope::{author_id, mime};
use super::errors::ApiError;
use super::messages;
use super::settings::Settings;
use super::time;
use super::world::World;

/// Maximum number of rows of a page.
const MAX_ROWS: usize = 50;
/// Maximum number of ids in a parameter.
const MAX_IDS: usize = 5;

/// `GET /api/v3/messages/search`: newest first.
pub(super) fn search(
    world: &World,
    settings: &Settings,
    call: &Call<'_>,
) -> Result<Answer, ApiError> {
    let limit = call.limit(MAX_ROWS.min(settings.max_page_size))?;
    let skipped = match call.text("next_token") {
        Some(text) => text.parse::<usize>().map_err(|_| call.invalid())?,
        None => 0,
    };
    let time = |name: &str| call.millis(name).map_err(|_| ApiError::invalid_time());
    let from = time("from_time")?.unwrap_or(0);
    let to = time("to_time")?.unwrap_or(i64::MAX);
    if from >= to {
        return Err(ApiError::invalid_time());
    }
    let includes_bots = call.flag("include_bot_messages")? == Some(true);
    let senders = ids(call, "from_user_ids")?;
    let query = call.text("query");
    let words = query.map(str::to_lowercase);
    let mut found: Vec<(&Chat, &Message)> = Vec::new();
    for chat in chats(world, call)? {
        let window = chat.messages.range((from, 0)..=(to, u64::MAX));
        let messages = window.map(|(_, message)| message).filter(|message| {
            let is_bot = matches!(message.author, Author::Bot(..));
            let sender = author_id(world, &message.author);
            let text = message.text.to_lowercase();
            !message.is_info
                && (includes_bots || !is_bot)
                && senders
                    .as_ref()
                    .is_none_or(|ids| ids.contains(&sender.as_str()))
                && words.as_ref().is_none_or(|words| text.contains(words))
        });
        found.extend(messages.map(|message| (chat, message)));
    }
    found.sort_by_key(|(_, message)| std::cmp::Reverse(message.position));
    let has_more = found.len() > skipped + limit;
    let rows: Vec<_> = found.into_iter().skip(skipped).take(limit).collect();
    let facts = rows
        .iter()
        .flat_map(|(chat, message)| messages::facts(chat, call.login, &[message]));
    let facts = facts.collect();
    let rows: Vec<Value> = rows
        .iter()
        .map(|(chat, message)| row(world, chat, message))
        .collect();
    let mut body = json!({ "messages": rows });
    if has_more {
        body["next_token"] = json!(skipped + limit);
    }
    if let Some(query) = query {
        body["matched_search_value"] = json!(query);
    }
    Ok(Answer { body, facts })
}

/// Ids of a parameter, of which there may be five.
fn ids<'c>(call: &Call<'c>, name: &str) -> Result<Option<Vec<&'c str>>, ApiError> {
    let ids = call.list(name);
    if ids.as_ref().is_some_and(|ids| ids.len() > MAX_IDS) {
        return Err(call.invalid());
    }
    Ok(ids)
}

/// Chats that are searched: the named ones, or all of the caller.
fn chats<'w>(world: &'w World, call: &Call<'_>) -> Result<Vec<&'w Chat>, ApiError> {
    let types = call.list("chat_type");
    let known = |name: &&str| TYPES.contains(name);
    if types.as_ref().is_some_and(|types| !types.iter().all(known)) {
        return Err(call.invalid());
    }
    let chosen = ids(call, "chat_ids")?;
    let own = world.chats_of(call.login);
    let includes_open = call.flag("include_allowed_channels")? == Some(true);
    let user = &world.users[call.login];
    let open = world.channels.values().filter_map(|id| world.chats.get(id));
    let open = open.filter(|chat| {
        includes_open
            && (chat.data_center, chat.organization) == (user.data_center, user.organization)
            && !chat.members.contains(call.login)
            && chat
                .channel()
                .is_some_and(|one| one.level == Level::Organization)
    });
    let chosen = |chat: &&Chat| {
        let is_chosen = chosen
            .as_ref()
            .is_none_or(|ids| ids.contains(&chat.id.as_str()));
        is_chosen || (includes_open && chat.channel().is_some())
    };
    let of_type = |chat: &&Chat| {
        let name = type_name(chat);
        types.as_ref().is_none_or(|types| types.contains(&name))
    };
    let all = own.into_iter().chain(open);
    Ok(all.filter(chosen).filter(of_type).collect())
}

const TYPES: [&str; 6] = [
    "direct_message",
    "group_chat",
    "channel",
    "threads",
    "bot",
    "guests",
];

/// Type of a chat in version 3.
const fn type_name(chat: &Chat) -> &'static str {
    match chat.kind {
        Kind::Direct => "direct_message",
        Kind::Group => "group_chat",
        Kind::Channel(_) => "channel",
        Kind::Thread(_) => "threads",
        Kind::Bot => "bot",
    }
}

fn row(world: &World, chat: &Chat, message: &Message) -> Value {
    let content = match &message.file {
        Some(file) => json!({
            "file_name": file.name, "file_type": mime(&file.name), "file_size": 51_200,
            "comment": message.text,
        }),
        None => json!({ "text": message.text }),
    };
    let mut row = json!({
        "message_id": message.time().to_string(), "time": time::search_text(message.time()),
        "sender": author_id(world, &message.author), "chat_id": chat.id,
        "chat_title": chat.title, "type": message.kind(), "content": content,
    });
    if let Some(channel) = world.home(chat).channel() {
        row["channel_type"] = json!(channel.level.name_in_search());
        row["channel_unique_id"] = json!(channel.unique_name);
    }
    if let Some(reply_to) = message.reply_to {
        row["reply_message_id"] = json!(message_id(reply_to));
    }
    if let Some(thread) = chat.thread() {
        row["parent_chat_id"] = json!(thread.parent);
        row["parent_chat_title"] = json!(world.home(chat).title);
        row["thread_message_id"] = json!(message_id(thread.main));
        row["thread_state"] = json!(if thread.is_closed { "closed" } else { "open" });
    }
    row
}
