//! Objects of the Web API and of events.

use serde_json::{Map, Value, json};

use super::entities::BUILD_BOT;
use super::lists::is_in;
use super::tokens::Holder;
use super::world::{Author, Channel, Kind, Message, TextLocation, User, World, format_ts, seconds};

impl World {
    /// A message.
    pub(crate) fn message_json(message: &Message) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        put("type", json!("message"));
        put("ts", json!(format_ts(message.ts)));
        let is_plain = message.text_location == TextLocation::Text;
        put(
            "text",
            json!(if is_plain { message.text.as_str() } else { "" }),
        );
        put("team", json!(message.team));
        match &message.author {
            Author::Person(user) => {
                put("user", json!(user));
                put("client_msg_id", json!(format!("{:032x}", message.ts)));
            }
            Author::App(bot, name) => {
                put("bot_id", json!(bot));
                if let Some(name) = name {
                    put("username", json!(name));
                }
            }
        }
        match message.text_location {
            TextLocation::Text => put(
                "blocks",
                json!([{ "type": "rich_text", "block_id": "b1", "elements": [{
                    "type": "rich_text_section",
                    "elements": [{ "type": "text", "text": message.text }],
                }] }]),
            ),
            TextLocation::Blocks => put(
                "blocks",
                json!([{ "type": "section", "block_id": "b1", "text": {
                    "type": "mrkdwn", "text": message.text, "verbatim": false,
                } }]),
            ),
            TextLocation::Attachment => {}
        }
        if let Some(subtype) = message.subtype {
            put("subtype", json!(subtype));
        }
        if let Some((thread, author)) = &message.thread {
            put("thread_ts", json!(format_ts(*thread)));
            if let Some(author) = author {
                put("parent_user_id", json!(author));
            }
        } else if !message.replies.is_empty() {
            put("thread_ts", json!(format_ts(message.ts)));
            put("reply_count", json!(message.replies.len()));
            put("reply_users", json!(message.repliers));
            put("reply_users_count", json!(message.repliers.len().max(1)));
            let latest = message.replies.last().map(|ts| format_ts(*ts));
            put("latest_reply", json!(latest));
            put("subscribed", json!(false));
            put("is_locked", json!(false));
        }
        if let Some((user, ts)) = &message.edited {
            put("edited", json!({ "user": user, "ts": format_ts(*ts) }));
        }
        let mut attachments = Vec::new();
        if message.text_location == TextLocation::Attachment {
            attachments.push(json!({
                "id": 1, "text": message.text, "fallback": "[no preview available]",
            }));
        }
        if message.unfurled {
            attachments.push(json!({
                "id": attachments.len() + 1, "title": "Example", "from_url": "https://example.com/",
            }));
        }
        if !attachments.is_empty() {
            put("attachments", json!(attachments));
        }
        if message.file.is_some() {
            put("files", json!([Self::file_json(message)]));
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

    /// The file that a message shares.
    pub(crate) fn file_json(message: &Message) -> Value {
        let (id, name) = message.file.clone().unwrap_or_default();
        let user = match &message.author {
            Author::Person(user) => user.as_str(),
            Author::App(..) => "",
        };
        let at = seconds(message.ts);
        json!({
            "id": id, "name": name, "title": name, "mimetype": "text/plain", "mode": "hosted",
            "filetype": "text", "pretty_type": "Plain Text", "size": 42, "user": user,
            "created": at, "timestamp": at, "editable": false, "is_external": false,
            "is_public": true, "public_url_shared": false,
        })
    }

    /// A person or a bot.
    pub(crate) fn user_json(&self, user: &User) -> Value {
        let mut object = json!({
            "id": user.id, "team_id": user.team, "name": user.name, "deleted": false,
            "real_name": user.real_name, "is_bot": user.bot, "is_app_user": false,
            "tz": "Etc/UTC", "tz_label": "Coordinated Universal Time", "tz_offset": 0,
            "profile": {
                "display_name": if user.bot { "" } else { user.name.as_str() },
                "display_name_normalized": user.name, "real_name": user.real_name,
                "real_name_normalized": user.real_name, "title": "", "phone": "", "skype": "",
                "status_text": "", "status_emoji": "", "fields": {},
                "avatar_hash": "g1a2b3c4d5e6", "team": user.team,
            },
            "updated": 1_700_000_000,
        });
        let parent = self
            .teams
            .get(&user.team)
            .and_then(|team| self.organizations.get(team.organization.as_ref()?));
        if let Some(organization) = parent {
            object["enterprise_user"] = json!({
                "id": user.id, "enterprise_id": organization.id,
                "enterprise_name": organization.name, "teams": [user.team],
                "is_admin": organization.admin == user.id, "is_owner": false,
            });
        }
        object
    }

    /// A channel as seen by a token's holder.
    pub(crate) fn channel_json(&self, channel: &Channel, holder: &Holder) -> Value {
        let team = self.channel_workspace(&holder.account, channel);
        if channel.kind == Kind::Direct {
            return json!({
                "id": channel.id, "created": channel.created, "is_im": true,
                "is_org_shared": false, "is_archived": false, "is_user_deleted": false,
                "user": channel.creator, "priority": 0, "context_team_id": team.id,
            });
        }
        let shared = channel.teams.len() > 1;
        let is_external = self.is_external(channel);
        let private = channel.kind == Kind::Private;
        json!({
            "id": channel.id, "name": channel.name, "name_normalized": channel.name,
            "is_channel": !private, "is_group": private, "is_im": false,
            "is_mpim": false, "is_private": private, "created": channel.created,
            "creator": channel.creator, "is_archived": false, "is_general": false,
            "is_shared": shared, "is_ext_shared": is_external, "is_org_shared": shared && !is_external,
            "is_pending_ext_shared": false, "pending_shared": [], "unlinked": 0,
            "context_team_id": team.id, "shared_team_ids": channel.teams,
            "is_member": is_in(self, holder, channel), "num_members": 3,
            "topic": { "value": "", "creator": "", "last_set": 0 },
            "purpose": { "value": "", "creator": "", "last_set": 0 },
            "previous_names": [],
        })
    }

    /// Whether a channel is shared outside of the organization.
    pub(crate) fn is_external(&self, channel: &Channel) -> bool {
        let owner = |team: &String| {
            let parent = self.teams[team].organization.as_ref();
            parent.unwrap_or(team).clone()
        };
        let first = owner(&channel.teams[0]);
        channel.teams.iter().any(|team| owner(team) != first)
    }

    /// Authorization of an account in a workspace.
    pub(crate) fn authorization_json(&self, account: &str, team: &str) -> Value {
        let parent = self.teams[team].organization.as_ref();
        json!({
            "enterprise_id": parent, "team_id": team, "user_id": self.bot_of(account),
            "is_bot": true, "is_enterprise_install": self.organizations.contains_key(account),
        })
    }

    /// Author of messages of the build app.
    pub(crate) fn build_bot_author(name: Option<&str>) -> Author {
        Author::App(BUILD_BOT.to_owned(), name.map(str::to_owned))
    }
}
