//! Names of users and titles of chats.

use serde_json::Value;

use super::client::CliqClient;
use crate::connectors::ConnectorError;
use crate::model::{DirectoryEntry, DirectoryKey, DirectoryKind};

/// Directory entry of a chat, for deliveries that do not state its title.
pub(super) fn chat_entry(chat: &str, title: Option<&str>) -> Option<DirectoryEntry> {
    Some(DirectoryEntry {
        key: DirectoryKey::new(DirectoryKind::Channel, chat),
        name: Some(title?.to_owned()),
        detail: Value::Null,
    })
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
