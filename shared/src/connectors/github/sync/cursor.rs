//! What every cursor has in common.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::connectors::github::client::Answer;
use crate::connectors::{ConnectorError, SyncRequest};

/// The tag of an answer, and the URL it belongs to. The same URL and tag ask only whether
/// anything changed, which costs nothing of the rate limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tag {
    pub url: String,
    pub etag: String,
}

impl Tag {
    /// The tag of an answer from this URL.
    pub(super) fn of(url: &Url, answer: &Answer) -> Option<Self> {
        answer.etag().map(|etag| Self {
            url: url.to_string(),
            etag,
        })
    }
}

/// The request's cursor; `None` for a stream never read. One that cannot be understood,
/// because another version wrote it, starts the stream over.
pub(super) fn load<C: DeserializeOwned>(
    request: &SyncRequest,
) -> Result<Option<C>, ConnectorError> {
    match &request.cursor {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(cursor) => serde_json::from_value(cursor.clone())
            .map(Some)
            .map_err(|error| ConnectorError::CursorExpired(error.into())),
    }
}
