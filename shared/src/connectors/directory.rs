//! The directory: what an account's people, channels and statuses are called.
//!
//! Deliveries name them by id only. A connector asks the directory while it normalizes; what
//! is not there the directory remembers as missing, and whoever holds it looks it up.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr};

/// What an entry describes.
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
    /// A person or an automated account.
    User,
    /// An app that posts under its own name.
    Bot,
    /// A channel.
    Channel,
    /// A status of a workflow.
    Status,
    /// An issue, where a delivery names its number only.
    Issue,
}

/// Which entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DirectoryKey {
    /// What it describes.
    pub kind: DirectoryKind,
    /// The provider's id.
    pub id: String,
}

impl DirectoryKey {
    /// The key of an entry.
    pub fn new(kind: DirectoryKind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }
}

/// What is known of somebody or something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Whom or what it describes.
    pub key: DirectoryKey,
    /// The name people see; `None` when the provider does not tell.
    pub name: Option<String>,
    /// What else the connector wants to remember; no secrets.
    pub detail: Value,
}

impl DirectoryEntry {
    /// An entry that says that the provider does not know it.
    pub const fn nameless(key: DirectoryKey) -> Self {
        Self {
            key,
            name: None,
            detail: Value::Null,
        }
    }
}

/// A connection's directory, as far as it was loaded.
#[derive(Debug, Default)]
pub struct Directory(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    entries: HashMap<DirectoryKey, Arc<DirectoryEntry>>,
    missing: BTreeSet<DirectoryKey>,
}

impl Directory {
    /// A directory of these entries.
    pub fn of(entries: impl IntoIterator<Item = DirectoryEntry>) -> Self {
        let directory = Self::default();
        directory.add(entries);
        directory
    }

    /// The entry; its absence is remembered.
    pub fn get(&self, kind: DirectoryKind, id: &str) -> Option<Arc<DirectoryEntry>> {
        let key = DirectoryKey::new(kind, id);
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pages.entries.get(&key).cloned();
        // An id with a NUL is nobody's, and cannot be kept either.
        if found.is_none() && !id.contains('\0') {
            pages.missing.insert(key);
        }
        found
    }

    /// Adds entries, over older ones.
    pub fn add(&self, entries: impl IntoIterator<Item = DirectoryEntry>) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            pages.missing.remove(&entry.key);
            pages.entries.insert(entry.key.clone(), Arc::new(entry));
        }
    }

    /// What was asked for and not found, since this was last asked.
    pub fn take_missing(&self) -> Vec<DirectoryKey> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut pages.missing).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_remembered_until_it_is_added() {
        let directory = Directory::default();
        assert!(directory.get(DirectoryKind::User, "U1").is_none());
        assert!(directory.get(DirectoryKind::Channel, "C1").is_none());
        let user = DirectoryKey::new(DirectoryKind::User, "U1");
        directory.add([DirectoryEntry::nameless(user.clone())]);
        assert_eq!(
            directory.take_missing(),
            [DirectoryKey::new(DirectoryKind::Channel, "C1")]
        );
        assert_eq!(
            directory.get(DirectoryKind::User, "U1").expect("added").key,
            user
        );
        assert!(directory.take_missing().is_empty());
    }
}
