//! Directory entries: names of an account's users, channels and statuses.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr};

/// Kind of a directory entry.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    IntoStaticStr,
    EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DirectoryKind {
    /// A person or a bot user.
    User,
    /// An app that posts under its name.
    Bot,
    /// A channel.
    Channel,
    /// A status of a workflow.
    Status,
    /// An issue that a delivery identifies only by its number.
    Issue,
    /// A shared drive.
    Drive,
}

/// Key of a directory entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DirectoryKey {
    /// Kind of the entry.
    pub kind: DirectoryKind,
    /// The provider's id.
    pub id: String,
}

impl DirectoryKey {
    /// Builds a key.
    pub fn new(kind: DirectoryKind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }
}

/// An entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Key.
    pub key: DirectoryKey,
    /// Name for people; `None` if the provider does not provide one.
    pub name: Option<String>,
    /// Connector-specific data; no secrets.
    pub detail: Value,
}

impl DirectoryEntry {
    /// An entry that the provider does not know.
    pub const fn nameless(key: DirectoryKey) -> Self {
        Self {
            key,
            name: None,
            detail: Value::Null,
        }
    }
}
