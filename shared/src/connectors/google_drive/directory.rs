//! Names of shared drives.

use http::StatusCode;
use serde_json::Value;

use super::client::{READ, READONLY, call, url};
use super::wire::Drive;
use crate::connectors::google::{Call, Client};
use crate::connectors::{Access, ConnectorError};
use crate::http::Priority;
use crate::model::{DirectoryEntry, DirectoryKey, DirectoryKind};

/// Fields of a shared drive.
pub(super) const FIELDS: &str = "id,name";

/// The entry of a shared drive.
pub(super) fn entry(id: String, name: Option<String>) -> DirectoryEntry {
    DirectoryEntry {
        key: DirectoryKey::new(DirectoryKind::Drive, id),
        name,
        detail: Value::Null,
    }
}

/// Looks up shared drives. Drives that the person may not see are omitted.
pub(super) async fn resolve_directory(
    client: &Client,
    access: &Access,
    keys: &[DirectoryKey],
    priority: Priority,
) -> Result<Vec<DirectoryEntry>, ConnectorError> {
    let mut found = Vec::new();
    for key in keys {
        if key.kind != DirectoryKind::Drive || key.id.is_empty() {
            continue;
        }
        let call = Call {
            scope: READONLY,
            priority,
            ..call(access, "get_drive", READ)
        };
        let url = url(client, &["drives", &key.id]);
        match client.get(&call, url, &[("fields", FIELDS)]).await {
            Ok(response) => {
                let drive: Drive = response.json()?;
                found.push(entry(key.id.clone(), drive.name));
            }
            // A member of a file only, a drive that is gone, or a withheld scope.
            Err(error) if matches!(error.cause, ConnectorError::Denied { .. }) => {}
            Err(error) if error.is(StatusCode::BAD_REQUEST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}
