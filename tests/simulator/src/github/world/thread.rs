//! Issues, pull requests, comments and reviews.

use std::cell::OnceCell;

use bytes::Bytes;

use super::collection::impl_item;
use super::{Id, Item};

/// An issue, or the issue side of a pull request.
pub(crate) struct Issue {
    pub(crate) id: Id,
    pub(crate) number: u32,
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) user: Id,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) closed_at: Option<i64>,
    pub(crate) closed_by: Option<Id>,
    pub(crate) state_reason: Option<&'static str>,
    pub(crate) comments: u32,
    pub(crate) labels: Vec<Id>,
    pub(crate) assignees: Vec<Id>,
    pub(crate) milestone: Option<Id>,
    pub(crate) locked: bool,
    pub(crate) kind: Option<&'static str>,
    /// Set for pull requests.
    pub(crate) pull: Option<Box<Pull>>,
    /// Ledger rows that lists show for the current state.
    pub(crate) facts: Vec<u64>,
    /// Ledger row of the last closing, which a reopening hides.
    pub(crate) closing: Option<u64>,
    /// Cached row of `/issues`.
    pub(crate) listed_row: OnceCell<Bytes>,
    /// Cached row of `/pulls`.
    pub(crate) pull_row: OnceCell<Bytes>,
}

/// Fields of a pull request in addition to its issue.
pub(crate) struct Pull {
    pub(crate) id: Id,
    pub(crate) head_ref: String,
    pub(crate) head_sha: String,
    pub(crate) base_ref: String,
    pub(crate) base_sha: String,
    pub(crate) draft: bool,
    pub(crate) merged_at: Option<i64>,
    pub(crate) merged_by: Option<Id>,
    pub(crate) merge_sha: Option<String>,
    pub(crate) auto_merge: Option<Id>,
    pub(crate) reviewers: Vec<Id>,
    pub(crate) team_requested: bool,
    pub(crate) review_comments: u32,
    pub(crate) commits: u32,
    pub(crate) reviews: Vec<Review>,
}

/// A submitted review.
pub(crate) struct Review {
    pub(crate) id: Id,
    pub(crate) user: Id,
    pub(crate) body: String,
    /// Lower case, as in webhooks.
    pub(crate) state: &'static str,
    pub(crate) commit: String,
    pub(crate) submitted_at: i64,
    /// `None` if the review only holds comments.
    pub(crate) fact: Option<u64>,
}

/// A comment on an issue or pull request.
pub(crate) struct Comment {
    pub(crate) id: Id,
    pub(crate) issue: Id,
    pub(crate) user: Id,
    pub(crate) body: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) facts: Vec<u64>,
    pub(crate) rendered: OnceCell<Bytes>,
}

/// A comment on a line of a pull request.
pub(crate) struct ReviewComment {
    pub(crate) id: Id,
    pub(crate) issue: Id,
    pub(crate) review: Id,
    pub(crate) user: Id,
    pub(crate) body: String,
    pub(crate) path: String,
    pub(crate) commit: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) facts: Vec<u64>,
    pub(crate) rendered: OnceCell<Bytes>,
}

impl Issue {
    /// `open` or `closed`.
    pub(crate) fn state(&self) -> &'static str {
        if self.closed_at.is_some() {
            "closed"
        } else {
            "open"
        }
    }
}

impl_item! {
    Issue: listed_row, pull_row;
    Comment: rendered;
    ReviewComment: rendered;
}
