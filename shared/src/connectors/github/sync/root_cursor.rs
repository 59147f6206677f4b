//! Cursor of the root stream, and the kinds of streams of a repository.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub(super) const ISSUES: &str = "issues";
pub(super) const ISSUE_COMMENTS: &str = "issue_comments";
pub(super) const PULLS: &str = "pulls";
pub(super) const REVIEW_COMMENTS: &str = "review_comments";
pub(super) const RELEASES: &str = "releases";
pub(super) const WORKFLOW_RUNS: &str = "workflow_runs";
pub(super) const STARGAZERS: &str = "stargazers";

/// Cursor of the root stream.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The next page; `None` between walks.
    #[serde(default)]
    pub next: Option<String>,
    /// Number of repositories seen in this walk.
    #[serde(default)]
    pub seen: u64,
    /// GitHub's total count on the last page.
    #[serde(default)]
    pub total: Option<u64>,
    /// Number of restarts.
    #[serde(default)]
    pub restarts: u32,
    /// Seen and total count of the previous walk, if they differed.
    #[serde(default)]
    pub mismatch: Option<(u64, u64)>,
    /// Whether this walk may have missed repositories.
    #[serde(default)]
    pub is_partial: bool,
    /// Whether the list changed during this walk, after the last restart.
    #[serde(default)]
    pub is_unsteady: bool,
    /// Digest of the ids that the previous run listed, if its walk was whole but partial.
    #[serde(default)]
    pub listed: Option<String>,
    /// Ids of the repositories seen in this walk, by lower-case name.
    #[serde(default)]
    pub repositories: BTreeMap<String, u64>,
    /// Upper bound of the last search.
    #[serde(default)]
    pub searched_through: Option<DateTime<Utc>>,
    /// The unfinished search.
    #[serde(default)]
    pub search: Option<Search>,
}

/// Position of a search.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Search {
    pub since: DateTime<Utc>,
    /// Number of completed searches.
    pub step: usize,
    /// The next page.
    #[serde(default)]
    pub next: Option<String>,
    /// Number and update time (in seconds since 1970) of each result, by repository.
    #[serde(default)]
    pub updates: BTreeMap<String, Vec<(u64, i64)>>,
}
