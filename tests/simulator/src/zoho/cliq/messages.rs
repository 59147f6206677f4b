//! Messages of a chat.

use serde_json::{Value, json};

use super::api::{Answer, Call};
use super::chat::{Chat, Message, message_id, parse_message_id};
use super::envelope::{author_id, author_name, mentions, mime, replied_message};
use super::errors::ApiError;
use super::settings::Settings;
use super::world::World;

/// Maximum number of rows of a response.
const MAX_ROWS: usize = 100;

/// `GET /chats/{id}/messages`: oldest first, with both ends of the window.
///
/// Which rows of a window with more of them come is not documented. Without `fromtime` they are
/// the newest ones, otherwise the oldest ones, or as the setting says.
pub(super) fn list(
    world: &World,
    settings: &Settings,
    call: &Call<'_>,
    id: &str,
) -> Result<Answer, ApiError> {
    let chat = open(world, call, id)?;
    let limit = call.limit(MAX_ROWS)?;
    let from = call.millis("fromtime")?;
    let to = call.millis("totime")?.unwrap_or(i64::MAX);
    let first = from.unwrap_or(0);
    if first > to {
        return Err(call.invalid());
    }
    let window = chat.messages.range((first, 0)..=(to, u64::MAX));
    let mut messages: Vec<&Message> = window.map(|(_, message)| message).collect();
    if from.is_none() || settings.newest_of_window {
        messages.drain(..messages.len().saturating_sub(limit));
    }
    messages.truncate(limit);
    let rows = messages.iter().map(|one| row(world, settings, chat, one));
    Ok(Answer {
        body: json!({ "data": rows.collect::<Vec<_>>() }),
        facts: facts(chat, call.login, &messages),
    })
}

/// `GET /chats/{id}/messages/{id}`.
pub(super) fn get(
    world: &World,
    settings: &Settings,
    call: &Call<'_>,
    id: &str,
    message: &str,
) -> Result<Answer, ApiError> {
    let chat = open(world, call, id)?;
    let position = parse_message_id(message);
    let message = position.and_then(|position| chat.messages.get(&position));
    let message = message.ok_or_else(ApiError::message_not_found)?;
    Ok(Answer {
        body: row(world, settings, chat, message),
        facts: facts(chat, call.login, &[message]),
    })
}

/// `GET /threads/{id}/messages/main`: the message that a thread began with.
pub(super) fn main(
    world: &World,
    settings: &Settings,
    call: &Call<'_>,
    id: &str,
) -> Result<Answer, ApiError> {
    let chat = open(world, call, id)?;
    let thread = chat.thread().ok_or_else(ApiError::chat_not_found)?;
    let parent = world.home(chat);
    let message = parent.messages.get(&thread.main);
    let message = message.ok_or_else(ApiError::message_not_found)?;
    let mut body = row(world, settings, parent, message);
    let spelled = |position| message_id(position).replace('_', "%20");
    body["is_read"] = json!(true);
    body["ack_key"] = json!(message.time().to_string());
    body["parent_resource_id"] = json!(parent.title);
    body["revision"] = json!(message.revision + 1);
    body["thread_state_info"] = json!({
        "thread_state": if thread.is_closed { "closed" } else { "open" },
    });
    body["thread_information"] = json!({
        "is_follower": thread.followers.contains(call.login),
        "follower_count": thread.followers.len(), "message_count": chat.messages.len(),
        "thread_message_id": spelled(thread.main), "title": chat.title, "chat_id": chat.id,
    });
    if let Some(last) = chat.last_message() {
        let time = last.time().to_string();
        body["thread_message"] = json!({
            "id": last.id(), "msguid": spelled(last.position), "msgid": time, "time": time,
            "lmsgtime": time, "msg": last.text, "sender": author_id(world, &last.author),
            "dname": author_name(world, &last.author), "threadmsg": true, "is_read": true,
            "ctype": 11, "sequence_id": chat.messages.len(),
            "meta": { "revision": last.revision + 1 },
        });
    }
    Ok(Answer {
        body,
        facts: facts(parent, call.login, &[message]),
    })
}

/// A chat that the caller reads.
fn open<'w>(world: &'w World, call: &Call<'_>, id: &str) -> Result<&'w Chat, ApiError> {
    let chat = world.chats.get(id).ok_or_else(ApiError::chat_not_found)?;
    if chat.data_center != call.data_center {
        return Err(ApiError::chat_not_found());
    }
    if !world.reads(call.login, chat) {
        return Err(ApiError::chat_denied());
    }
    Ok(chat)
}

/// Ledger rows of the caller for messages.
pub(super) fn facts(chat: &Chat, login: &str, messages: &[&Message]) -> Vec<u64> {
    let row = |message: &&Message| {
        let mut written = chat.written_at(message.time());
        let number = written.position(|one| one.position == message.position)?;
        chat.facts.row(login, message.time(), number)
    };
    messages.iter().filter_map(row).collect()
}

/// A message in lists.
fn row(world: &World, settings: &Settings, chat: &Chat, message: &Message) -> Value {
    let content = match &message.file {
        Some(file) => {
            let mut content = json!({
                "comment": message.text,
                "file": { "id": file.id, "name": file.name, "type": mime(&file.name) },
            });
            if mime(&file.name).starts_with("image/") {
                content["file"]["dimensions"] =
                    json!({ "height": 480, "width": 640, "size": 51_200 });
                content["thumbnail"] = json!({ "height": 240, "width": 320, "blur_data": "" });
            }
            content
        }
        None if settings.content_as_text => json!(message.text),
        None => json!({ "text": message.text }),
    };
    let mut row = json!({
        "sender": {
            "name": author_name(world, &message.author), "id": author_id(world, &message.author),
        },
        "id": message.id(), "time": message.time(), "type": message.kind(), "content": content,
    });
    if !message.mentions.is_empty() {
        row["mentions"] = mentions(&message.mentions);
    }
    if let Some(replied) = replied_message(world, chat, message) {
        row["replied_message"] = replied;
    }
    row
}
