//! Resources whose ids the provider may change.

use serde_json::{Value, json};

use super::{DirectoryEntry, StreamSpec};

/// Key of the stable ids in a stream's target and in a directory entry's detail.
///
/// The stable ids identify a resource after the provider changed its id.
const STABLE_IDS: &str = "stable_ids";

/// A resource as the provider returns it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Current id.
    pub id: String,
    /// Identifiers that survive a change of the id, most reliable first.
    ///
    /// Other resources may share the less reliable ones.
    pub stable_ids: Vec<String>,
}

impl Resource {
    /// The resource of a stream; `None` if its id never changes.
    pub fn of_stream(stream: &StreamSpec) -> Option<Self> {
        Self::read(stream.resource_id.as_ref()?, &stream.target)
    }

    /// The resource of a directory entry; `None` if its id never changes.
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

    /// Serializes it for a stream's target or an entry's detail.
    pub(crate) fn described(&self) -> Value {
        json!({ STABLE_IDS: self.stable_ids })
    }
}
