//! Commits, releases, workflow runs and deployments.

use std::cell::OnceCell;

use bytes::Bytes;

use super::collection::impl_item;
use super::{Id, Item};

/// A commit.
#[derive(Clone)]
pub(crate) struct Commit {
    pub(crate) sha: String,
    pub(crate) tree: String,
    pub(crate) parent: Option<String>,
    pub(crate) message: String,
    pub(crate) author: Id,
    pub(crate) at: i64,
}

impl Commit {
    /// The initial commit of a repository.
    pub(crate) fn initial(sha: String, author: Id, at: i64) -> Self {
        let tree = sha.chars().rev().collect();
        let message = "Initial commit".to_owned();
        Self {
            sha,
            tree,
            parent: None,
            message,
            author,
            at,
        }
    }
}

/// A release.
pub(crate) struct Release {
    pub(crate) id: Id,
    pub(crate) tag: String,
    pub(crate) name: Option<String>,
    pub(crate) body: String,
    pub(crate) target: String,
    pub(crate) prerelease: bool,
    pub(crate) author: Id,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) published_at: i64,
    pub(crate) facts: Vec<u64>,
    pub(crate) rendered: OnceCell<Bytes>,
}

/// A workflow run.
pub(crate) struct Run {
    pub(crate) id: Id,
    pub(crate) number: u32,
    pub(crate) attempt: u32,
    pub(crate) event: &'static str,
    pub(crate) branch: String,
    pub(crate) sha: String,
    pub(crate) title: String,
    pub(crate) actor: Id,
    pub(crate) triggering_actor: Id,
    /// `None` while the attempt is in progress.
    pub(crate) conclusion: Option<&'static str>,
    pub(crate) created_at: i64,
    pub(crate) started_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) facts: Vec<u64>,
    pub(crate) rendered: OnceCell<Bytes>,
}

/// A deployment.
pub(crate) struct Deployment {
    pub(crate) id: Id,
    pub(crate) environment: String,
    pub(crate) sha: String,
    pub(crate) branch: String,
    pub(crate) creator: Id,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

impl_item! {
    Release: rendered;
    Run: rendered;
}
