//! Pushes, releases, deployments, workflow runs, stars and commit comments.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Timestamp, User, lenient, link, list, text};

/// An object of which only the name is read.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Named {
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
}

/// A push.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Push {
    #[serde(rename = "ref")]
    pub name: String,
    #[serde(default, deserialize_with = "text")]
    pub before: Option<String>,
    pub after: String,
    pub created: Option<bool>,
    pub deleted: Option<bool>,
    pub forced: Option<bool>,
    #[serde(default, deserialize_with = "link")]
    pub compare: Option<String>,
    pub head_commit: Option<Commit>,
    /// Its commits, at most 2048.
    #[serde(default, deserialize_with = "list")]
    pub commits: Vec<Commit>,
}

/// A commit of a push.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Commit {
    #[serde(default, deserialize_with = "text")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub message: Option<String>,
    pub author: Option<Author>,
}

/// Author of a commit, as the commit states it.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Author {
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub username: Option<String>,
}

/// A release.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Release {
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub tag_name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    pub draft: Option<bool>,
    pub prerelease: Option<bool>,
    pub author: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub published_at: Option<Timestamp>,
}

/// A deployment.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Deployment {
    pub id: Option<u64>,
    #[serde(default, rename = "ref", deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub sha: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub environment: Option<String>,
}

/// A status of a deployment.
#[derive(Debug, Deserialize)]
pub(in super::super) struct DeploymentStatus {
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub state: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub environment: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub target_url: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub log_url: Option<String>,
    pub creator: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
}

/// A run of a workflow.
#[derive(Debug, Deserialize)]
pub(in super::super) struct WorkflowRun {
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    /// File of the workflow, which is the name of an unnamed workflow.
    #[serde(default, deserialize_with = "text")]
    pub path: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub display_title: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub status: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub conclusion: Option<String>,
    /// Attempt; missing before 2021.
    pub run_attempt: Option<u64>,
    pub run_number: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub head_branch: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub head_sha: Option<String>,
    pub actor: Option<User>,
    pub triggering_actor: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
}

/// A page of workflow runs.
#[derive(Debug, Deserialize)]
pub(in super::super) struct WorkflowRunList<'a> {
    pub total_count: Option<u64>,
    #[serde(borrow)]
    pub workflow_runs: Option<Vec<&'a RawValue>>,
}

/// A star, with its time.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Stargazer {
    #[serde(default, deserialize_with = "lenient")]
    pub starred_at: Option<Timestamp>,
    pub user: Option<User>,
}

/// A comment on a commit.
#[derive(Debug, Deserialize)]
pub(in super::super) struct CommitComment {
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub commit_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub body: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub path: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    pub user: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
}
