//! Polling: one page of one stream at a time.
//!
//! The root stream lists the folders whose mails were received or sent, the inbox first. Mail
//! filters put mail into any folder, so all of them are streams.

mod messages;

use super::ZohoMail;
use super::auth::{account_id, client};
use super::client::MailClient;
use super::wire::{Folder, FolderKind};
use crate::connectors::error::permanent_error;
use crate::connectors::rows::UnreadableRows;
use crate::connectors::{ConnectorError, SyncPage, SyncRequest};
use crate::model::{SignalKind, StreamSpec};

/// Key of the root stream.
pub(super) const ROOT: &str = "folders";
/// Kind of the streams of folders.
pub(super) const FOLDER: &str = "folder";

/// Name of the mark of sent mail in a stream's target.
const IS_SENT: &str = "is_sent";

/// A folder to read.
struct FolderTarget<'a> {
    account: &'a str,
    id: &'a str,
    kind: SignalKind,
}

/// Reads one page of one stream.
pub(super) async fn read_page(
    mail: &ZohoMail,
    request: &SyncRequest,
) -> Result<SyncPage, ConnectorError> {
    let client = MailClient {
        priority: request.priority,
        ..client(mail, &request.access)
    };
    let account = account_id(&request.access.account)
        .ok_or_else(|| permanent_error("the account names no mailbox"))?;
    if request.stream.key == ROOT {
        return read_root(&client, account).await;
    }
    let id = request.stream.key.strip_prefix(FOLDER);
    let id = id.and_then(|rest| rest.strip_prefix(':'));
    let folder = FolderTarget {
        account,
        id: id.ok_or_else(|| permanent_error("unknown stream"))?,
        kind: if is_sent(&request.stream) {
            SignalKind::EmailSent
        } else {
            SignalKind::EmailReceived
        },
    };
    messages::read_page(&client, request, &folder).await
}

/// Whether a folder has sent mail.
pub(super) fn is_sent(stream: &StreamSpec) -> bool {
    stream.target[IS_SENT] == true
}

/// Reads the page of the root stream.
async fn read_root(client: &MailClient<'_>, account: &str) -> Result<SyncPage, ConnectorError> {
    let list = client.list_folders(account).await?;
    let mut unreadable = UnreadableRows::default();
    let rows = list.rows.iter().map(AsRef::as_ref);
    let folders = unreadable.read_all(rows, Folder::parse);
    let mut folders: Vec<(String, FolderKind)> =
        folders.into_iter().map(|(folder, _)| folder).collect();
    folders.retain(|(_, kind)| *kind != FolderKind::Ignored);
    // Stable: Zoho lists the inbox itself before other folders of its type.
    folders.sort_by_key(|(_, kind)| *kind);
    let is_list_partial = !unreadable.is_empty();
    Ok(SyncPage {
        streams: folders.into_iter().map(stream).collect(),
        is_list_partial,
        unreadable_rows: unreadable.into_rows(),
        progress: 1.0,
        ..SyncPage::empty(serde_json::Value::Null)
    })
}

fn stream((id, kind): (String, FolderKind)) -> StreamSpec {
    StreamSpec {
        key: format!("{FOLDER}:{id}"),
        resource_id: Some(id),
        target: serde_json::json!({ IS_SENT: kind == FolderKind::Sent }),
    }
}
