//! Common parts of the cursors.

use serde::{Deserialize, Serialize};
use url::Url;

pub(super) use crate::connectors::cursor::load_cursor as load;
use crate::connectors::github::client::Response;

/// `ETag` of a response, with its URL.
///
/// A conditional request with both does not count against the rate limit if nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tag {
    pub url: String,
    pub etag: String,
}

impl Tag {
    /// The tag of a response from this URL.
    pub(super) fn of(url: &Url, response: &Response) -> Option<Self> {
        response.etag().map(|etag| Self {
            url: url.to_string(),
            etag,
        })
    }
}
