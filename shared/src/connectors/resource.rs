//! Resources whose id the provider may change.

use serde_json::{Value, json};

use super::{DirectoryEntry, StreamSpec};

/// The member of a stream's target, and of a directory entry's detail, that says by what a resource
/// is known again under another id.
const STABLE_IDS: &str = "stable_ids";

/// A resource as the provider shows it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its present id.
    pub id: String,
    /// What stays the same when it gets another id; the surest first. Others may share the less
    /// sure ones.
    pub stable_ids: Vec<String>,
}

impl Resource {
    /// The resource of a stream; `None` where its id never changes.
    pub fn of_stream(stream: &StreamSpec) -> Option<Self> {
        Self::read(stream.resource_id.as_ref()?, &stream.target)
    }

    /// The resource that a directory entry describes; `None` where its id never changes.
    pub fn of_entry(entry: &DirectoryEntry) -> Option<Self> {
        Self::read(&entry.key.id, &entry.detail)
    }

    fn read(id: &str, described: &Value) -> Option<Self> {
        let stable_ids: Vec<String> = described[STABLE_IDS]
            .as_array()?
            .iter()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect();
        (!stable_ids.is_empty()).then(|| Self {
            id: id.to_owned(),
            stable_ids,
        })
    }

    /// What a stream's target or an entry's detail keeps of it.
    pub(super) fn described(&self) -> Value {
        json!({ STABLE_IDS: self.stable_ids })
    }
}
