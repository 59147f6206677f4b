//! What every cursor has in common.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::connectors::github::client::Answer;
pub(super) use crate::connectors::support::load_cursor as load;

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
