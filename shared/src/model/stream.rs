//! Streams of a connection.

use serde::{Deserialize, Serialize};

/// A stream of a connection: one kind of object in one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// Stable name, unique in the connection: `issues:1296269`.
    pub key: String,
    /// Id of its resource (a repository).
    ///
    /// [`crate::connectors::AccountChange::StreamsChanged`] has the same ids.
    pub resource_id: Option<String>,
    /// Connector-specific address; it may change over time (a renamed repository).
    pub target: serde_json::Value,
}
