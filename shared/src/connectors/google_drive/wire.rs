//! Types of Drive's JSON, version 3.
//!
//! Deserialization is lenient: a field that is not of the documented form counts as missing.
//! `normalize` checks the fields that a Signal requires.

use serde::Deserialize;

use crate::connectors::google::Timestamp;
pub(super) use crate::connectors::wire::{WireError, read};
use crate::connectors::wire::{id, lenient, link, rows, text};

/// Type of a folder.
const FOLDER: &str = "application/vnd.google-apps.folder";
/// Type of a shortcut to another file.
const SHORTCUT: &str = "application/vnd.google-apps.shortcut";

/// A person, or the service account of a program.
#[derive(Debug, Default, Clone, Deserialize)]
pub(super) struct User {
    #[serde(rename = "permissionId", default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(rename = "displayName", default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    /// Withheld if the person hides it.
    #[serde(rename = "emailAddress", default, deserialize_with = "text")]
    pub(super) address: Option<String>,
}

/// A shared drive.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Drive {
    #[serde(default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
}

/// A row of a log of changes.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Change {
    /// `file` or `drive`.
    #[serde(rename = "changeType", default, deserialize_with = "text")]
    pub(super) kind: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) time: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) removed: Option<bool>,
    #[serde(rename = "fileId", default, deserialize_with = "id")]
    pub(super) file_id: Option<String>,
    #[serde(rename = "driveId", default, deserialize_with = "id")]
    pub(super) drive_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) file: Option<File>,
}

impl Change {
    /// Whether a shared drive itself has changed, or the person's membership.
    pub(super) fn is_of_drive(&self) -> bool {
        self.kind.as_deref() == Some("drive")
    }
}

/// A file or a folder.
#[derive(Debug, Default, Deserialize)]
pub(super) struct File {
    #[serde(default, deserialize_with = "id")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(rename = "mimeType", default, deserialize_with = "text")]
    pub(super) mime_type: Option<String>,
    /// Bytes, as text; Google's own documents have none in some lists.
    #[serde(default, deserialize_with = "id")]
    pub(super) size: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) trashed: Option<bool>,
    /// Whether the file itself was trashed, and not its folder.
    #[serde(rename = "explicitlyTrashed", default, deserialize_with = "lenient")]
    pub(super) explicitly_trashed: Option<bool>,
    /// Only in shared drives.
    #[serde(rename = "trashedTime", default, deserialize_with = "lenient")]
    pub(super) trashed_time: Option<Timestamp>,
    /// Only in shared drives.
    #[serde(rename = "trashingUser", default, deserialize_with = "lenient")]
    pub(super) trashing_user: Option<User>,
    /// As the uploader states it, which may be years ago.
    #[serde(rename = "createdTime", default, deserialize_with = "lenient")]
    pub(super) created_time: Option<Timestamp>,
    /// As the uploader states it, which may be in the future.
    #[serde(rename = "modifiedTime", default, deserialize_with = "lenient")]
    pub(super) modified_time: Option<Timestamp>,
    #[serde(rename = "headRevisionId", default, deserialize_with = "id")]
    pub(super) head_revision_id: Option<String>,
    #[serde(rename = "driveId", default, deserialize_with = "id")]
    pub(super) drive_id: Option<String>,
    #[serde(rename = "sharedWithMeTime", default, deserialize_with = "lenient")]
    pub(super) shared_with_me_time: Option<Timestamp>,
    #[serde(rename = "sharingUser", default, deserialize_with = "lenient")]
    pub(super) sharing_user: Option<User>,
    /// Not in shared drives.
    #[serde(default, deserialize_with = "rows")]
    pub(super) owners: Vec<User>,
    #[serde(rename = "lastModifyingUser", default, deserialize_with = "lenient")]
    pub(super) last_modifying_user: Option<User>,
    #[serde(rename = "webViewLink", default, deserialize_with = "link")]
    pub(super) web_view_link: Option<String>,
}

impl File {
    pub(super) fn is_folder(&self) -> bool {
        self.mime_type.as_deref() == Some(FOLDER)
    }

    pub(super) fn is_shortcut(&self) -> bool {
        self.mime_type.as_deref() == Some(SHORTCUT)
    }
}
