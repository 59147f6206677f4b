//! Names of users, bots and channels.

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{ApiError, Client};
use super::wire::{Channel, Event, User, text};
use crate::connectors::{Access, ConnectorError};
use crate::http::Charge;
use crate::model::{DirectoryEntry, DirectoryKey, DirectoryKind, Resource};

/// Directory entry of a user, with the name that Slack displays.
pub(super) fn user_entry(user: &User) -> DirectoryEntry {
    let profile = user.profile.as_ref();
    let name = profile
        .and_then(|profile| profile.display_name.clone())
        .or_else(|| user.real_name.clone())
        .or_else(|| profile.and_then(|profile| profile.real_name.clone()))
        .or_else(|| user.name.clone());
    DirectoryEntry {
        key: DirectoryKey::new(DirectoryKind::User, &user.id),
        name,
        detail: json!({ "is_bot": user.is_bot == Some(true) }),
    }
}

/// Directory entry of a channel.
pub(super) fn channel_entry(channel: &Channel) -> DirectoryEntry {
    DirectoryEntry {
        key: DirectoryKey::new(DirectoryKind::Channel, &channel.id),
        name: channel.name.clone(),
        detail: Value::Null,
    }
}

/// Resource of a channel, with ids that survive a change of the channel's id.
///
/// A private channel that becomes public changes only the first letter of its id, and the creator
/// and creation time of a channel do not change.
pub(super) fn channel_resource(channel: &Channel) -> Resource {
    let mut stable_ids: Vec<String> = channel
        .id
        .strip_prefix(['C', 'G'])
        .map(|rest| format!("id:{rest}"))
        .into_iter()
        .collect();
    if let (Some(created), Some(creator)) = (channel.created, &channel.creator) {
        stable_ids.push(format!("made:{created}:{creator}"));
    }
    Resource {
        id: channel.id.clone(),
        stable_ids,
    }
}

/// Checks whether Slack still knows a channel by this id.
pub(super) async fn has_channel(
    client: &Client,
    access: &Access,
    id: &str,
) -> Result<bool, ConnectorError> {
    #[derive(Deserialize)]
    struct Found {
        channel: Channel,
    }
    let charge = Charge::new(&access.account.id, "conversations.info");
    let found = client
        .call(&charge, &access.token, &[("channel", id)])
        .await;
    match found {
        Ok(response) => Ok(response.json::<Found>()?.channel.id == id),
        Err(error) if error.code == "channel_not_found" => Ok(false),
        Err(ApiError {
            cause: ConnectorError::Denied { .. } | ConnectorError::Permanent(_),
            ..
        }) => Ok(true),
        Err(error) => Err(error.cause),
    }
}

/// Directory entries that an event contains: a new or renamed user or channel.
pub(super) fn entries_of(event: &Event<'_>) -> Vec<DirectoryEntry> {
    let entry = match event.kind.as_deref().unwrap_or_default() {
        "user_change" | "team_join" | "user_profile_changed" => {
            serde_json::from_value(event.user.clone())
                .ok()
                .map(|user| user_entry(&user))
        }
        "channel_rename" | "group_rename" | "channel_created" => {
            serde_json::from_value(event.channel.clone())
                .ok()
                .map(|channel| channel_entry(&channel))
        }
        _ => None,
    };
    entry
        .filter(|entry| entry.name.is_some() && !entry.key.id.is_empty())
        .into_iter()
        .collect()
}

/// Looks up each key at Slack. Keys that Slack does not know or does not disclose are omitted.
pub(super) async fn resolve_directory(
    client: &Client,
    access: &Access,
    keys: &[DirectoryKey],
) -> Result<Vec<DirectoryEntry>, ConnectorError> {
    #[derive(Deserialize)]
    struct Found {
        user: Option<User>,
        channel: Option<Channel>,
        bot: Option<Bot>,
    }
    #[derive(Deserialize)]
    struct Bot {
        #[serde(default, deserialize_with = "text")]
        name: Option<String>,
    }
    let mut entries = Vec::new();
    for key in keys {
        let (method, argument) = match key.kind {
            DirectoryKind::User => ("users.info", "user"),
            DirectoryKind::Channel => ("conversations.info", "channel"),
            DirectoryKind::Bot => ("bots.info", "bot"),
            DirectoryKind::Status | DirectoryKind::Issue | DirectoryKind::Drive => continue,
        };
        let charge = Charge::new(&access.account.id, method);
        let mut arguments = vec![(argument, key.id.as_str())];
        // An organization's token requires a team id, and accepts the organization's.
        if key.kind == DirectoryKind::Bot && access.account.settings["organization"] == true {
            arguments.push(("team_id", &access.account.id));
        }
        let found: Found = match client.call(&charge, &access.token, &arguments).await {
            Ok(response) => response.json()?,
            Err(error) => match error.cause {
                ConnectorError::Denied { .. } | ConnectorError::Permanent(_) => continue,
                other => return Err(other),
            },
        };
        let mut entry = match found {
            Found {
                user: Some(user), ..
            } => user_entry(&user),
            Found {
                channel: Some(channel),
                ..
            } => DirectoryEntry {
                detail: channel_resource(&channel).described(),
                ..channel_entry(&channel)
            },
            Found { bot: Some(bot), .. } => DirectoryEntry {
                key: key.clone(),
                name: bot.name,
                detail: Value::Null,
            },
            _ => continue,
        };
        entry.key = key.clone();
        entries.push(entry);
    }
    Ok(entries)
}
