//! Names of users and titles of chats.

use serde_json::{Value, json};

use super::client::CliqClient;
use crate::connectors::ConnectorError;
use crate::model::{DirectoryEntry, DirectoryKey, DirectoryKind};

/// Name of the detail of a chat's entry that says whether it is a channel.
const IS_CHANNEL: &str = "is_channel";

/// Directory entry of a chat, for deliveries that do not describe it.
pub(super) fn chat_entry(chat: &str, title: Option<&str>, is_channel: bool) -> DirectoryEntry {
    DirectoryEntry {
        key: DirectoryKey::new(DirectoryKind::Channel, chat),
        name: title.map(str::to_owned),
        detail: json!({ IS_CHANNEL: is_channel }),
    }
}

/// Whether a chat's entry is that of a channel.
pub(super) fn is_channel(entry: &DirectoryEntry) -> bool {
    entry.detail[IS_CHANNEL] == true
}

/// Looks up users at Cliq; it omits those that Cliq does not know, and all chats.
///
/// The root stream provides the titles of chats.
pub(super) async fn resolve_directory(
    client: CliqClient<'_>,
    keys: &[DirectoryKey],
) -> Result<Vec<DirectoryEntry>, ConnectorError> {
    let mut entries = Vec::new();
    for key in keys.iter().filter(|key| key.kind == DirectoryKind::User) {
        let user = match client.get_user(&key.id).await {
            Ok(user) => user,
            Err(ConnectorError::Denied { .. } | ConnectorError::Permanent(_)) => continue,
            Err(other) => return Err(other),
        };
        entries.push(DirectoryEntry {
            key: key.clone(),
            name: user.shown_name(),
            detail: Value::Null,
        });
    }
    Ok(entries)
}
