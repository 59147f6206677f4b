//! Types of Slack's JSON, for events and the Web API.
//!
//! Deserialization is lenient: a field that is not of the documented form counts as missing.
//! `normalize` checks the fields that a Signal requires.

mod ts;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

pub(super) use ts::Ts;

use crate::connectors::wire::read_json;
pub(super) use crate::connectors::wire::{WireError, lenient, or_default, rows, text};

/// The outermost object of a delivery.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(rename = "type", default, deserialize_with = "text")]
    pub(super) kind: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) challenge: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) api_app_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) team_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) enterprise_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) event_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) event_time: Option<i64>,
    #[serde(default, deserialize_with = "text")]
    pub(super) event_context: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) authorizations: Option<Vec<Authorization>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) is_ext_shared_channel: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) minute_rate_limited: Option<i64>,
    #[serde(borrow, default)]
    pub(super) event: Option<&'a RawValue>,
}

/// An installation that receives an event.
#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct Authorization {
    #[serde(default, deserialize_with = "text")]
    pub(super) team_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) enterprise_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) is_enterprise_install: Option<bool>,
}

impl Authorization {
    /// The id of the account that receives the event.
    pub(super) fn account(&self) -> Option<&String> {
        if self.is_enterprise_install == Some(true) {
            self.enterprise_id.as_ref()
        } else {
            self.team_id.as_ref()
        }
    }
}

/// The inner event: the union of the fields of all event types.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type", default, deserialize_with = "text")]
    pub(super) kind: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) subtype: Option<String>,
    /// A channel's id, or a channel object in events about channels.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) channel: Value,
    /// A user's id, or a user object in events about users.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) user: Value,
    /// The time of the event.
    #[serde(rename = "event_ts", default, deserialize_with = "lenient")]
    pub(super) at: Option<Ts>,
    /// The id of the message, or of the event about a message.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) ts: Option<Ts>,
    /// The message as it is now.
    #[serde(borrow, default)]
    pub(super) message: Option<&'a RawValue>,
    /// The message as it was.
    #[serde(borrow, default)]
    pub(super) previous_message: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) deleted_ts: Option<Ts>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) item: Option<Item>,
    #[serde(default, deserialize_with = "text")]
    pub(super) item_user: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) reaction: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) inviter: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) file_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) channel_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) old_channel_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) new_channel_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) user_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) tokens: Option<RevokedTokens>,
}

impl Event<'_> {
    /// The id of the event's channel.
    pub(super) fn channel(&self) -> Option<&str> {
        self.channel
            .as_str()
            .or_else(|| self.channel["id"].as_str())
            .or(self.channel_id.as_deref())
            .filter(|id| !id.is_empty())
    }

    /// The id of the event's user.
    pub(super) fn user(&self) -> Option<&str> {
        self.user
            .as_str()
            .or_else(|| self.user["id"].as_str())
            .or(self.user_id.as_deref())
            .filter(|id| !id.is_empty())
    }
}

/// The object of a reaction.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    #[serde(rename = "type", default, deserialize_with = "text")]
    pub(super) kind: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) channel: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) ts: Option<Ts>,
}

/// Ids of the users whose tokens were revoked.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RevokedTokens {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) bot: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) oauth: Vec<String>,
}

/// A message.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Message {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) ts: Option<Ts>,
    #[serde(default, deserialize_with = "text")]
    pub(super) subtype: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) user: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) bot_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) bot_profile: Option<BotProfile>,
    #[serde(default, deserialize_with = "text")]
    pub(super) username: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) text: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) thread_ts: Option<Ts>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) edited: Option<Edited>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) files: Option<Vec<File>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) reply_count: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) latest_reply: Option<Ts>,
}

/// Profile of an app that posts messages.
#[derive(Debug, Deserialize)]
pub(super) struct BotProfile {
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
}

/// Editor and time of a message's last edit.
#[derive(Debug, Deserialize)]
pub(super) struct Edited {
    #[serde(default, deserialize_with = "text")]
    pub(super) user: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) ts: Option<Ts>,
}

/// A file that a message shares.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    #[serde(default, deserialize_with = "text")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) title: Option<String>,
}

/// A channel.
#[derive(Debug, Deserialize)]
pub(super) struct Channel {
    pub(super) id: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created: Option<i64>,
    #[serde(default, deserialize_with = "text")]
    pub(super) creator: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) is_private: Option<bool>,
}

/// A human or bot user.
#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) id: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) real_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) is_bot: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) profile: Option<Profile>,
}

/// Names of a user.
#[derive(Debug, Deserialize)]
pub(super) struct Profile {
    #[serde(default, deserialize_with = "text")]
    pub(super) display_name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) real_name: Option<String>,
}

/// Deserializes a row of a list.
pub(super) fn read_row<T: DeserializeOwned>(raw: &RawValue) -> Result<T, WireError> {
    // All other fields are optional.
    read_json(raw.get()).map_err(|_| WireError::Missing("id"))
}

/// Pagination of a list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    #[serde(default, deserialize_with = "text")]
    pub(super) next_cursor: Option<String>,
}
