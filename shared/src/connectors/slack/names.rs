//! What people, bots and channels are called.

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, Proof, Refusal};
use super::wire::{Channel, Event, User, text};
use crate::connectors::{
    Access, ConnectorError, DirectoryEntry, DirectoryKey, DirectoryKind, Resource,
};
use crate::http::Charge;

/// A user's entry: the name that people see.
pub(super) fn of_user(user: &User) -> DirectoryEntry {
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

/// A channel's entry.
pub(super) fn of_channel(channel: &Channel) -> DirectoryEntry {
    DirectoryEntry {
        key: DirectoryKey::new(DirectoryKind::Channel, &channel.id),
        name: channel.name.clone(),
        detail: Value::Null,
    }
}

/// A channel as it is known again under another id. A private channel that becomes public keeps its
/// id but for the first letter; who made a channel, and when, never changes.
pub(super) fn resource_of(channel: &Channel) -> Resource {
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

/// Whether Slack knows a channel by this id.
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
    let asked = client
        .call(&charge, Proof::Bearer(&access.token), &[("channel", id)])
        .await;
    match asked {
        Ok(answer) => Ok(answer.json::<Found>()?.channel.id == id),
        Err(refusal) if refusal.code == "channel_not_found" => Ok(false),
        Err(Refusal {
            error: ConnectorError::Permission(_) | ConnectorError::Permanent(_),
            ..
        }) => Ok(true),
        Err(refusal) => Err(refusal.error),
    }
}

/// What an event tells about names: somebody or something came or was renamed.
pub(super) fn told(event: &Event<'_>) -> Vec<DirectoryEntry> {
    let entry = match event.kind.as_deref().unwrap_or_default() {
        "user_change" | "team_join" | "user_profile_changed" => {
            serde_json::from_value(event.user.clone())
                .ok()
                .map(|user| of_user(&user))
        }
        "channel_rename" | "group_rename" | "channel_created" => {
            serde_json::from_value(event.channel.clone())
                .ok()
                .map(|channel| of_channel(&channel))
        }
        _ => None,
    };
    entry
        .filter(|entry| entry.name.is_some() && !entry.key.id.is_empty())
        .into_iter()
        .collect()
}

/// Asks Slack, one by one. What it does not know or may not tell is left out.
pub(super) async fn look_up(
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
            DirectoryKind::Status | DirectoryKind::Issue => continue,
        };
        let charge = Charge::new(&access.account.id, method);
        let mut arguments = vec![(argument, key.id.as_str())];
        // An organization's token has to say where a bot is; the organization will do.
        if key.kind == DirectoryKind::Bot && access.account.settings["organization"] == true {
            arguments.push(("team_id", &access.account.id));
        }
        let found: Found = match client
            .call(&charge, Proof::Bearer(&access.token), &arguments)
            .await
        {
            Ok(answer) => answer.json()?,
            Err(refusal) => match refusal.error {
                ConnectorError::Permission(_) | ConnectorError::Permanent(_) => continue,
                other => return Err(other),
            },
        };
        let mut entry = match found {
            Found {
                user: Some(user), ..
            } => of_user(&user),
            Found {
                channel: Some(channel),
                ..
            } => DirectoryEntry {
                detail: resource_of(&channel).described(),
                ..of_channel(&channel)
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
