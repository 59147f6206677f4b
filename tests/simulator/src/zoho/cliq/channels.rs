//! Channels, their members and their threads.

use serde_json::{Map, Value, json};

use super::api::{Answer, Call};
use super::chat::{Channel, Chat, Level, Message, message_id};
use super::envelope::{author_id, author_name};
use super::errors::ApiError;
use super::page::{SortKey, page, parse_token, token};
use super::settings::Settings;
use super::time;
use super::world::World;

/// Maximum number of rows of a page.
const MAX_ROWS: usize = 100;

/// `GET /channels`.
pub(super) fn list(
    world: &World,
    settings: &Settings,
    call: &Call<'_>,
) -> Result<Answer, ApiError> {
    let filter = Filter::parse(call)?;
    let order = Order::parse(call)?;
    let user = &world.users[call.login];
    let all = world.channels.values().filter_map(|id| world.chats.get(id));
    let seen = all.filter_map(|chat| {
        let channel = chat.channel()?;
        let is_own = (chat.data_center, chat.organization) == (user.data_center, user.organization);
        let is_open = channel.level == Level::Organization;
        let is_seen = is_own && (is_open || chat.members.contains(call.login));
        is_seen.then_some((chat, channel))
    });
    let seen: Vec<(&Chat, &Channel)> = seen
        .filter(|(chat, channel)| filter.accepts(call, world, chat, channel))
        .collect();
    let (chosen, has_more, next, sync) = if let Some(text) = call.text("sync_token") {
        let [since] = parse_token(text).ok_or_else(|| call.invalid())?;
        let since: u64 = since.parse().map_err(|_| call.invalid())?;
        let changed = seen
            .into_iter()
            .filter(|(_, channel)| channel.changed > since);
        let changed: Vec<_> = changed.collect();
        if changed.len() > settings.max_synced_channels {
            return Err(ApiError::sync_overflow());
        }
        (changed, false, None, world.changes)
    } else {
        let limit = call.limit(MAX_ROWS.min(settings.max_page_size))?;
        let (after, sync) = match call.text("next_token") {
            Some(text) => {
                let (key, sync) = parse_position(text).ok_or_else(|| call.invalid())?;
                (Some(key), sync)
            }
            None => (None, world.changes),
        };
        let keyed = seen.into_iter().map(|row| (order.key(row.0), row));
        let page = page(keyed.collect(), after.as_ref(), limit);
        let next = page
            .last
            .map(|(key, id)| token(&[&key.to_string(), &id, &sync.to_string()]));
        (page.rows, next.is_some(), next, sync)
    };
    let facts = chosen.iter().filter_map(|(_, channel)| {
        let rows = channel.creation.as_ref()?;
        rows.get(call.login).copied()
    });
    let facts = facts.collect();
    let rows = chosen.iter().map(|(chat, channel)| {
        let mut row = channel_json(world, call, chat, channel);
        if let Some(message) = chat.last_message() {
            row["last_message_info"] = last_message(world, chat, message);
        }
        row
    });
    let mut body = json!({
        "channels": rows.collect::<Vec<_>>(), "has_more": has_more,
        "sync_token": token(&[&sync.to_string()]),
    });
    if let Some(next) = next {
        body["next_token"] = json!(next);
    }
    Ok(Answer { body, facts })
}

/// Position and time of the list's beginning in a token.
fn parse_position(text: &str) -> Option<(SortKey, u64)> {
    let [key, id, sync] = parse_token(text)?;
    Some(((key.parse().ok()?, id), sync.parse().ok()?))
}

/// Parameters that select channels.
struct Filter<'a> {
    joined: Option<bool>,
    is_archived: Option<bool>,
    level: Option<Level>,
    name: Option<&'a str>,
    channel_ids: Option<Vec<&'a str>>,
    chat_ids: Option<Vec<&'a str>>,
    created_by: Option<&'a str>,
    modified: (Option<i64>, Option<i64>),
    created: (Option<i64>, Option<i64>),
    /// No channel is pinned, and none belongs to a team.
    is_impossible: bool,
}

impl<'a> Filter<'a> {
    fn parse(call: &Call<'a>) -> Result<Self, ApiError> {
        let is_archived = match call.text("status") {
            None => None,
            Some("archived") => Some(true),
            Some("created" | "pending") => Some(false),
            Some(_) => return Err(call.invalid()),
        };
        let is_pending = call.text("status") == Some("pending");
        let level = call.text("level");
        let level = level.map(|name| Level::parse(name).ok_or_else(|| call.invalid()));
        Ok(Self {
            joined: call.flag("joined")?,
            is_archived,
            level: level.transpose()?,
            name: call.text("name"),
            channel_ids: call.list("channel_ids"),
            chat_ids: call.list("chat_ids"),
            created_by: call.text("created_by"),
            modified: (
                call.millis("modified_after")?,
                call.millis("modified_before")?,
            ),
            created: (
                call.millis("created_after")?,
                call.millis("created_before")?,
            ),
            is_impossible: is_pending
                || call.flag("pinned")? == Some(true)
                || call.text("team_ids").is_some(),
        })
    }

    fn accepts(&self, call: &Call<'_>, world: &World, chat: &Chat, channel: &Channel) -> bool {
        let is_within = |time: i64, (after, before): (Option<i64>, Option<i64>)| {
            after.is_none_or(|after| time > after) && before.is_none_or(|before| time < before)
        };
        let has =
            |ids: &Option<Vec<&str>>, id: &str| ids.as_ref().is_none_or(|ids| ids.contains(&id));
        let creator = world.users.get(&chat.creator);
        let is_creator = |by: &str| {
            creator.is_some_and(|user| user.zuid == by || user.address.eq_ignore_ascii_case(by))
        };
        let is_joined = chat.members.contains(call.login);
        !self.is_impossible
            && self.joined.is_none_or(|joined| joined == is_joined)
            && self.is_archived.is_none_or(|is| is == channel.is_archived)
            && self.level.is_none_or(|level| level == channel.level)
            && self
                .name
                .is_none_or(|name| name == chat.title || name == channel.unique_name)
            && self.created_by.is_none_or(is_creator)
            && has(&self.channel_ids, &channel.id)
            && has(&self.chat_ids, &chat.id)
            && is_within(chat.active, self.modified)
            && is_within(chat.created * 1_000, self.created)
    }
}

/// Order of channels; by default, that of their creation.
struct Order {
    by_activity: bool,
    is_descending: bool,
}

impl Order {
    fn parse(call: &Call<'_>) -> Result<Self, ApiError> {
        let Some(text) = call.text("order_by") else {
            return Ok(Self {
                by_activity: false,
                is_descending: false,
            });
        };
        // A `+` that was not percent-encoded is a space.
        let (sign, field) = text.split_at_checked(1).ok_or_else(|| call.invalid())?;
        let is_descending = match sign {
            "-" => true,
            "+" | " " => false,
            _ => return Err(call.invalid()),
        };
        let by_activity = match field {
            "last_modified_time" => true,
            "creation_time" => false,
            _ => return Err(call.invalid()),
        };
        Ok(Self {
            by_activity,
            is_descending,
        })
    }

    fn key(&self, chat: &Chat) -> SortKey {
        let time = if self.by_activity {
            chat.active
        } else {
            chat.created * 1_000
        };
        let time = if self.is_descending { -time } else { time };
        (time, chat.id.clone())
    }
}

/// `GET /channels/{id}`.
pub(super) fn get(world: &World, call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let (chat, channel) = open(world, call, id)?;
    let rows = channel.creation.as_ref();
    let fact = rows.and_then(|rows| rows.get(call.login).copied());
    Ok(Answer {
        body: channel_json(world, call, chat, channel),
        facts: fact.into_iter().collect(),
    })
}

/// `GET /channels/{id}/members`.
pub(super) fn members(world: &World, call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let (chat, _) = open(world, call, id)?;
    let users = chat
        .members
        .iter()
        .filter_map(|login| world.users.get(login));
    let rows = users.map(|user| {
        json!({
            "user_id": user.zuid, "email_id": user.address, "name": user.name(),
            "user_role": role(chat, &user.login),
        })
    });
    Ok(Answer::of(json!({ "members": rows.collect::<Vec<_>>() })))
}

/// `GET /channels/{id}/threads`.
///
/// The description has the parameters of its pages in a body; here they may be in the query too.
pub(super) fn threads(
    world: &World,
    settings: &Settings,
    call: &Call<'_>,
    id: &str,
) -> Result<Answer, ApiError> {
    let (_, channel) = open(world, call, id)?;
    let followed = match call.text("state") {
        None | Some("all") => None,
        Some("followed") => Some(true),
        Some("not_followed") => Some(false),
        Some(_) => return Err(call.invalid()),
    };
    let is_closed = match call.text("type") {
        None => None,
        Some("closed") => Some(true),
        Some("open") => Some(false),
        Some(_) => return Err(call.invalid()),
    };
    let limit = call.limit(MAX_ROWS.min(settings.max_page_size))?;
    let after = match call.text("next_token") {
        Some(text) => Some(parse_position(text).ok_or_else(|| call.invalid())?.0),
        None => None,
    };
    let chats = channel.threads.iter().filter_map(|id| world.chats.get(id));
    let rows = chats.filter_map(|chat| {
        let thread = chat.thread()?;
        let follows = thread.followers.contains(call.login);
        let fits = followed.is_none_or(|followed| followed == follows)
            && is_closed.is_none_or(|is_closed| is_closed == thread.is_closed);
        fits.then(|| ((chat.created, chat.id.clone()), (chat, thread)))
    });
    let page = page(rows.collect(), after.as_ref(), limit);
    let data = page.rows.iter().map(|(chat, thread)| {
        let parent = world.chats.get(&thread.parent);
        let main = parent.and_then(|parent| parent.messages.get(&thread.main));
        let mut row = json!({
            "parent_chat_id": thread.parent, "chat_id": chat.id, "title": chat.title,
            "is_follower": thread.followers.contains(call.login),
            "follower_count": thread.followers.len(),
            "thread_message_id": message_id(thread.main).replace('_', "%20"),
            "thread_state": if thread.is_closed { "closed" } else { "open" },
        });
        if let Some(main) = main {
            row["parent_message_sender"] = json!(author_id(world, &main.author));
        }
        if let Some(message) = chat.last_message() {
            row["last_message_information"] = last_message(world, chat, message);
        }
        row
    });
    let mut body = json!({
        "url": format!("/api/v2/channels/{id}/threads"), "type": "chat_thread",
        "data": data.collect::<Vec<_>>(), "sync_token": token(&[&world.changes.to_string()]),
    });
    if let Some((key, id)) = page.last {
        body["next_token"] = json!(token(&[&key.to_string(), &id, "0"]));
    }
    Ok(Answer::of(body))
}

/// A channel that the caller may see.
fn open<'w>(
    world: &'w World,
    call: &Call<'_>,
    id: &str,
) -> Result<(&'w Chat, &'w Channel), ApiError> {
    let chat = world.channels.get(id).and_then(|id| world.chats.get(id));
    let user = &world.users[call.login];
    let chat = chat.filter(|chat| {
        (chat.data_center, chat.organization) == (user.data_center, user.organization)
    });
    let chat = chat.ok_or_else(ApiError::chat_not_found)?;
    let channel = chat.channel().ok_or_else(ApiError::chat_not_found)?;
    if channel.level != Level::Organization && !chat.members.contains(call.login) {
        return Err(ApiError::chat_denied());
    }
    Ok((chat, channel))
}

fn role(chat: &Chat, login: &str) -> &'static str {
    if chat.creator == login {
        "super_admin"
    } else {
        "member"
    }
}

fn channel_json(world: &World, call: &Call<'_>, chat: &Chat, channel: &Channel) -> Value {
    let creator = world.users.get(&chat.creator);
    let time = |millis| time::text(millis, chat.data_center);
    json!({
        "name": chat.title, "chat_id": chat.id, "channel_id": channel.id,
        "unique_name": channel.unique_name, "description": format!("About {}", chat.title),
        "level": channel.level.name(), "invite_only": channel.level == Level::Private,
        "status": if channel.is_archived { "archived" } else { "created" },
        "organization_id": chat.organization.to_string(),
        "creator_id": creator.map(|user| user.zuid.as_str()).unwrap_or_default(),
        "creator_name": creator.map(|user| user.name()).unwrap_or_default(),
        "creation_time": time(chat.created * 1_000), "last_modified_time": time(chat.active),
        "current_user_role": role(chat, call.login), "participant_count": chat.members.len(),
        "admin_permission": permissions(true), "moderator_permission": permissions(true),
        "member_permission": permissions(false), "teams": {},
        "joined": chat.members.contains(call.login), "pinned": false,
        "total_message_count": chat.messages.len().to_string(), "unread_message_count": 0,
        "unread_time": time(chat.active),
    })
}

/// What a role may do.
fn permissions(is_manager: bool) -> Value {
    const ALL: [&str; 8] = [
        "send_message",
        "mention_users",
        "leave_channel",
        "edit_my_msg",
        "delete_my_msg",
        "post_reply",
        "add_participant",
        "close_thread",
    ];
    const MANAGERS: [&str; 5] = [
        "edit_channel_info",
        "archive_channel",
        "delete_channel",
        "remove_participant",
        "delete_others_message",
    ];
    let own = ALL.iter().map(|name| (*name, true));
    let managed = MANAGERS.iter().map(|name| (*name, is_manager));
    let fields = own.chain(managed);
    let fields: Map<String, Value> = fields
        .map(|(name, may)| (name.to_owned(), json!(may)))
        .collect();
    Value::Object(fields)
}

/// The last message of a chat in lists.
pub(super) fn last_message(world: &World, chat: &Chat, message: &Message) -> Value {
    json!({
        "sender_id": author_id(world, &message.author),
        "sender_name": author_name(world, &message.author),
        "message_type": message.kind(), "text": message.text,
        "time": time::text(message.time(), chat.data_center),
    })
}
