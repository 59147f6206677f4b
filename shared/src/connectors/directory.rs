//! The directory: names of an account's users, channels and statuses.
//!
//! Deliveries contain only their ids. A connector reads the directory while it normalizes; the
//! directory notes the missing entries, and its owner fetches them from the provider.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{DirectoryEntry, DirectoryKey, DirectoryKind};

/// The loaded part of a connection's directory.
#[derive(Debug, Default)]
pub struct Directory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: HashMap<DirectoryKey, Arc<DirectoryEntry>>,
    missing: BTreeSet<DirectoryKey>,
}

impl Directory {
    /// Builds a directory from entries.
    pub fn of(entries: impl IntoIterator<Item = DirectoryEntry>) -> Self {
        let directory = Self::default();
        directory.add(entries);
        directory
    }

    /// Returns an entry, or notes that it is missing.
    pub fn get(&self, kind: DirectoryKind, id: &str) -> Option<Arc<DirectoryEntry>> {
        let key = DirectoryKey::new(kind, id);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state.entries.get(&key).cloned();
        // No entry has an id with a NUL, and Postgres cannot store one.
        if found.is_none() && !id.contains('\0') {
            state.missing.insert(key);
        }
        found
    }

    /// Adds entries, replacing older ones.
    pub fn add(&self, entries: impl IntoIterator<Item = DirectoryEntry>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            state.missing.remove(&entry.key);
            state.entries.insert(entry.key.clone(), Arc::new(entry));
        }
    }

    /// Returns the keys that were missing since the last call.
    pub fn take_missing(&self) -> Vec<DirectoryKey> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.missing).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_entry_is_noted_until_added() {
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
