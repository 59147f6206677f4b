//! A repository and its labels, milestones, stars and discussions.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::{Collection, Comment, Commit, Deployment, Id, Issue, Release, ReviewComment, Run};

/// A repository.
pub(crate) struct Repository {
    pub(crate) id: Id,
    pub(crate) owner: Id,
    pub(crate) name: String,
    pub(crate) private: bool,
    pub(crate) archived: bool,
    /// Repository of which this one is a fork.
    pub(crate) fork_of: Option<Id>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) pushed_at: i64,
    pub(crate) open_issues: u32,
    pub(crate) forks: u32,
    /// Head commits by branch name.
    pub(crate) branches: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Oldest first.
    pub(crate) commits: Vec<Commit>,
    pub(crate) issues: Collection<Issue>,
    pub(crate) comments: Collection<Comment>,
    pub(crate) review_comments: Collection<ReviewComment>,
    pub(crate) releases: Collection<Release>,
    pub(crate) runs: Collection<Run>,
    /// Oldest first.
    pub(crate) stars: Vec<Star>,
    pub(crate) labels: Vec<Label>,
    pub(crate) milestones: Vec<Milestone>,
    pub(crate) discussions: Vec<Discussion>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) collaborators: Vec<Id>,
    /// Issue ids by number.
    pub(crate) numbers: BTreeMap<u32, Id>,
    pub(crate) last_number: u32,
    pub(crate) last_run: u32,
    /// Cached repository object.
    pub(crate) rendered: OnceCell<Value>,
}

impl Repository {
    pub(crate) fn new(id: Id, owner: Id, name: String, at: i64) -> Self {
        Self {
            id,
            owner,
            name,
            private: true,
            archived: false,
            fork_of: None,
            created_at: at,
            updated_at: at,
            pushed_at: at,
            open_issues: 0,
            forks: 0,
            branches: BTreeMap::new(),
            tags: BTreeMap::new(),
            commits: Vec::new(),
            issues: Collection::default(),
            comments: Collection::default(),
            review_comments: Collection::default(),
            releases: Collection::default(),
            runs: Collection::default(),
            stars: Vec::new(),
            labels: Vec::new(),
            milestones: Vec::new(),
            discussions: Vec::new(),
            deployments: Vec::new(),
            collaborators: Vec::new(),
            numbers: BTreeMap::new(),
            last_number: 0,
            last_run: 0,
            rendered: OnceCell::new(),
        }
    }

    /// Allocates a number, which issues, pull requests and discussions share.
    pub(crate) fn take_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    /// Counts an opened or reopened issue or pull request.
    pub(crate) fn count_opened(&mut self) {
        self.open_issues += 1;
        self.invalidate_object();
    }

    /// Counts a closed or removed issue or pull request.
    pub(crate) fn count_closed(&mut self) {
        self.open_issues = self.open_issues.saturating_sub(1);
        self.invalidate_object();
    }

    /// Issue or pull request with a number.
    pub(crate) fn issue(&self, number: u32) -> Option<&Issue> {
        self.issues.get(*self.numbers.get(&number)?)
    }

    /// Head commit of a branch.
    pub(crate) fn head(&self, branch: &str) -> Option<&str> {
        self.branches.get(branch).map(String::as_str)
    }

    /// Drops all cached objects, because their URLs have changed.
    pub(crate) fn invalidate_rendering(&mut self) {
        self.rendered = OnceCell::new();
        self.issues.invalidate_rendering();
        self.comments.invalidate_rendering();
        self.review_comments.invalidate_rendering();
        self.releases.invalidate_rendering();
        self.runs.invalidate_rendering();
    }

    /// Drops the cached repository object.
    pub(crate) fn invalidate_object(&mut self) {
        self.rendered = OnceCell::new();
    }
}

/// A label.
#[derive(Clone)]
pub(crate) struct Label {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) color: String,
}

/// A milestone.
#[derive(Clone)]
pub(crate) struct Milestone {
    pub(crate) id: Id,
    pub(crate) number: u32,
    pub(crate) title: String,
    pub(crate) creator: Id,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) closed_at: Option<i64>,
}

/// A star of a user.
pub(crate) struct Star {
    pub(crate) user: Id,
    pub(crate) at: i64,
    pub(crate) fact: u64,
}

/// A discussion.
pub(crate) struct Discussion {
    pub(crate) id: Id,
    pub(crate) number: u32,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) user: Id,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    /// Answer: comment id, time, and user who marked it.
    pub(crate) answer: Option<(Id, i64, Id)>,
    pub(crate) comments: Vec<DiscussionComment>,
}

/// A comment in a discussion.
pub(crate) struct DiscussionComment {
    pub(crate) id: Id,
    pub(crate) user: Id,
    pub(crate) body: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}
