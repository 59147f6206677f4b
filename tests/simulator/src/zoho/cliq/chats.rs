//! Conversations of people, which have no token: the time of the last message pages them.

use serde_json::{Value, json};

use super::api::{Answer, Call};
use super::channels::last_message;
use super::chat::{Author, Chat, Kind};
use super::errors::ApiError;
use super::time;
use super::world::World;

/// Maximum number of rows of a response.
const MAX_ROWS: usize = 100;

/// `GET /chats`: newest first, or oldest first after a time.
///
/// Times are compared in milliseconds, while rows show whole seconds.
pub(super) fn list(world: &World, call: &Call<'_>) -> Result<Answer, ApiError> {
    let limit = call.limit(MAX_ROWS)?;
    let after = call.millis("modified_after")?;
    let before = call.millis("modified_before")?;
    let has_drafts = call.flag("drafts")? == Some(true);
    let mut chats: Vec<&Chat> = world
        .chats_of(call.login)
        .into_iter()
        .filter(|chat| matches!(chat.kind, Kind::Direct | Kind::Group) && !has_drafts)
        .filter(|chat| after.is_none_or(|after| chat.active > after))
        .filter(|chat| before.is_none_or(|before| chat.active < before))
        .collect();
    chats.sort_by_key(|chat| (chat.active, &chat.id));
    if after.is_none() {
        chats.reverse();
    }
    chats.truncate(limit);
    let rows: Vec<Value> = chats.iter().map(|chat| row(world, call, chat)).collect();
    Ok(Answer::of(json!({ "chats": rows })))
}

fn row(world: &World, call: &Call<'_>, chat: &Chat) -> Value {
    let others = chat.members.iter().filter(|login| *login != call.login);
    let others: Vec<_> = others.filter_map(|login| world.users.get(login)).collect();
    let is_direct = matches!(chat.kind, Kind::Direct);
    let name = others.first().filter(|_| is_direct).map(|user| user.name());
    let recipients = others
        .iter()
        .map(|user| json!({ "user_id": user.zuid, "name": user.name() }));
    let creator = world.users.get(&chat.creator);
    let mut row = json!({
        "name": name.unwrap_or_else(|| chat.title.clone()), "chat_id": chat.id,
        "chat_type": if is_direct { "dm" } else { "chat" }, "removed": false, "pinned": false,
        "creation_time": time::text(chat.created * 1_000, chat.data_center),
        "last_modified_time": time::text(chat.active, chat.data_center),
        "creator_id": creator.map(|user| user.zuid.as_str()).unwrap_or_default(),
        "recipients_summary": recipients.collect::<Vec<_>>(),
        "participant_count": chat.members.len(),
    });
    if let Some(message) = chat.last_message() {
        let mut last = last_message(world, chat, message);
        if let Author::Bot(_, name) = &message.author {
            last["bot"] = json!({ "name": name, "image_url": "https://img.example.com/bot.png" });
        }
        row["last_message_info"] = last;
    }
    row
}
