//! A repository and the smaller things in it.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::{Comment, Commit, Deployment, Id, Issue, Release, ReviewComment, Run, Shelf};

/// A repository.
pub(crate) struct Repository {
    pub(crate) id: Id,
    pub(crate) owner: Id,
    pub(crate) name: String,
    pub(crate) private: bool,
    pub(crate) archived: bool,
    /// The repository this one was forked from.
    pub(crate) fork_of: Option<Id>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) pushed_at: i64,
    pub(crate) open_issues: u32,
    pub(crate) forks: u32,
    /// Branch name to the commit it points at.
    pub(crate) branches: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Oldest first.
    pub(crate) commits: Vec<Commit>,
    pub(crate) issues: Shelf<Issue>,
    pub(crate) comments: Shelf<Comment>,
    pub(crate) review_comments: Shelf<ReviewComment>,
    pub(crate) releases: Shelf<Release>,
    pub(crate) runs: Shelf<Run>,
    /// Oldest first.
    pub(crate) stars: Vec<Star>,
    pub(crate) labels: Vec<Label>,
    pub(crate) milestones: Vec<Milestone>,
    pub(crate) discussions: Vec<Discussion>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) collaborators: Vec<Id>,
    /// Issue number to issue id.
    pub(crate) numbers: BTreeMap<u32, Id>,
    pub(crate) last_number: u32,
    pub(crate) last_run: u32,
    /// The repository object, until something in it changes.
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
            issues: Shelf::default(),
            comments: Shelf::default(),
            review_comments: Shelf::default(),
            releases: Shelf::default(),
            runs: Shelf::default(),
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

    /// The next number that issues, pull requests and discussions share.
    pub(crate) fn take_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    /// The issue or pull request with this number.
    pub(crate) fn issue(&self, number: u32) -> Option<&Issue> {
        self.issues.get(*self.numbers.get(&number)?)
    }

    /// The commit a branch points at.
    pub(crate) fn head(&self, branch: &str) -> Option<&str> {
        self.branches.get(branch).map(String::as_str)
    }

    /// Drops everything rendered: a URL has changed.
    pub(crate) fn forget_rendering(&mut self) {
        self.rendered = OnceCell::new();
        self.issues.forget_rendering();
        self.comments.forget_rendering();
        self.review_comments.forget_rendering();
        self.releases.forget_rendering();
        self.runs.forget_rendering();
    }

    /// Drops the rendered repository object alone.
    pub(crate) fn changed(&mut self) {
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

/// Somebody's star.
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
    /// Comment, time and chooser of the answer.
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
