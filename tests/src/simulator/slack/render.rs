//! Objects as the Web API and events show them.

use serde_json::{Map, Value, json};

use super::world::{Author, Channel, Message, User, World, stamp};

impl World {
    /// A message.
    pub(crate) fn message_json(message: &Message) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        put("type", json!("message"));
        put("ts", json!(stamp(message.ts)));
        put("text", json!(message.text));
        put("team", json!(message.team));
        match &message.author {
            Author::Person(user) => {
                put("user", json!(user));
                put("client_msg_id", json!(format!("{:032x}", message.ts)));
            }
            Author::App(bot, name) => {
                put("bot_id", json!(bot));
                put("username", json!(name));
            }
        }
        put(
            "blocks",
            json!([{ "type": "rich_text", "block_id": "b1", "elements": [{
                "type": "rich_text_section",
                "elements": [{ "type": "text", "text": message.text }],
            }] }]),
        );
        if let Some(subtype) = message.subtype {
            put("subtype", json!(subtype));
        }
        if let Some(thread) = message.thread {
            put("thread_ts", json!(stamp(thread)));
        } else if !message.replies.is_empty() {
            put("thread_ts", json!(stamp(message.ts)));
            put("reply_count", json!(message.replies.len()));
            put("reply_users_count", json!(1));
            put(
                "latest_reply",
                json!(message.replies.last().map(|ts| stamp(*ts))),
            );
            put("is_locked", json!(false));
        }
        if let Some((user, ts)) = &message.edited {
            put("edited", json!({ "user": user, "ts": stamp(*ts) }));
        }
        if message.unfurled {
            put(
                "attachments",
                json!([{ "id": 1, "title": "Example", "from_url": "https://example.com/" }]),
            );
        }
        if let Some((id, name)) = &message.file {
            put(
                "files",
                json!([{ "id": id, "name": name, "mimetype": "text/plain", "mode": "hosted" }]),
            );
            put("upload", json!(true));
        }
        if !message.reactions.is_empty() {
            let reactions: Vec<Value> = message
                .reactions
                .iter()
                .map(|(name, users)| json!({ "name": name, "users": users, "count": users.len() }))
                .collect();
            put("reactions", json!(reactions));
        }
        Value::Object(object)
    }

    /// A person or a bot.
    pub(crate) fn user_json(user: &User) -> Value {
        json!({
            "id": user.id, "team_id": user.team, "name": user.name, "deleted": false,
            "real_name": user.real_name, "is_bot": user.bot, "is_app_user": false,
            "profile": {
                "display_name": if user.bot { "" } else { user.name.as_str() },
                "display_name_normalized": user.name, "real_name": user.real_name,
                "team": user.team,
            },
            "updated": 1_700_000_000,
        })
    }

    /// A channel, as a workspace sees it.
    pub(crate) fn channel_json(channel: &Channel, team: &str) -> Value {
        let shared = channel.teams.len() > 1;
        json!({
            "id": channel.id, "name": channel.name, "name_normalized": channel.name,
            "is_channel": !channel.private, "is_group": channel.private, "is_im": false,
            "is_mpim": false, "is_private": channel.private, "created": channel.created,
            "creator": channel.creator, "is_archived": false, "is_general": false,
            "is_shared": shared, "is_ext_shared": shared, "is_org_shared": false,
            "context_team_id": team, "shared_team_ids": channel.teams,
            "is_member": channel.bots.contains(team), "num_members": 3,
            "topic": { "value": "", "creator": "", "last_set": 0 },
            "purpose": { "value": "", "creator": "", "last_set": 0 },
            "previous_names": [],
        })
    }
}
