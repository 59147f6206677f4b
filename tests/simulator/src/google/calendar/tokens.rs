//! Page tokens and sync tokens of lists, which encode positions of the list's changes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Parameters that may differ between the requests of a list.
const FREE_PARAMETERS: [&str; 17] = [
    "pageToken",
    "syncToken",
    "maxResults",
    "fields",
    "alt",
    "key",
    "prettyPrint",
    "quotaUser",
    "oauth_token",
    "timeMin",
    "timeMax",
    "updatedMin",
    "q",
    "orderBy",
    "iCalUID",
    "privateExtendedProperty",
    "sharedExtendedProperty",
];

/// A position in the changes of a list, to which an incremental list returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SyncToken {
    #[serde(rename = "l")]
    pub(super) list: String,
    #[serde(rename = "p")]
    pub(super) position: u64,
    #[serde(rename = "f")]
    pub(super) parameters: String,
}

/// The state of a list that has more pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageToken {
    #[serde(rename = "l")]
    pub(super) list: String,
    /// Position of the sync token in an incremental list.
    #[serde(rename = "s")]
    pub(super) since: Option<u64>,
    /// Latest position at the first page.
    #[serde(rename = "e")]
    pub(super) end: u64,
    /// Position of the last row so far, or their number in a list with an order of its own.
    #[serde(rename = "a")]
    pub(super) after: u64,
}

pub(super) fn encode(token: &impl Serialize) -> String {
    URL_SAFE.encode(serde_json::to_vec(token).unwrap_or_default())
}

/// The token of this text; `None` if it is none.
pub(super) fn decode<T: for<'a> Deserialize<'a>>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE.decode(text).ok()?).ok()
}

/// Digest of the parameters that must stay the same.
pub(super) fn fingerprint(query: &[(String, String)]) -> String {
    let mut kept: Vec<_> = query
        .iter()
        .filter(|(name, _)| !FREE_PARAMETERS.contains(&name.as_str()))
        .collect();
    kept.sort();
    hex::encode(&Sha256::digest(format!("{kept:?}"))[..6])
}
