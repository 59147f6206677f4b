//! Things that happen to code: pushes, releases, deployments, workflow runs, stars.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Moment, User, lenient};

/// Anything of which only the name matters.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Named {
    pub name: Option<String>,
}

/// A push.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Push {
    #[serde(rename = "ref")]
    pub name: String,
    pub before: Option<String>,
    pub after: String,
    pub deleted: Option<bool>,
    pub forced: Option<bool>,
    pub compare: Option<String>,
    pub head_commit: Option<Commit>,
    /// At most 2048.
    pub commits: Option<Vec<Commit>>,
}

/// A commit of a push.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Commit {
    pub id: Option<String>,
    pub message: Option<String>,
    pub author: Option<Author>,
}

/// Who wrote a commit, by the commit's own word.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Author {
    pub name: Option<String>,
    pub username: Option<String>,
}

/// A release.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Release {
    pub id: u64,
    pub tag_name: Option<String>,
    pub name: Option<String>,
    pub html_url: Option<String>,
    pub draft: Option<bool>,
    pub prerelease: Option<bool>,
    pub author: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub published_at: Option<Moment>,
}

/// What is deployed.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Deployment {
    pub id: Option<u64>,
    #[serde(rename = "ref")]
    pub name: Option<String>,
    pub sha: Option<String>,
    pub environment: Option<String>,
}

/// How a deployment goes.
#[derive(Debug, Deserialize)]
pub(in super::super) struct DeploymentStatus {
    pub id: u64,
    pub state: Option<String>,
    pub environment: Option<String>,
    pub target_url: Option<String>,
    pub log_url: Option<String>,
    pub creator: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Moment>,
}

/// A run of a workflow.
#[derive(Debug, Deserialize)]
pub(in super::super) struct WorkflowRun {
    pub id: u64,
    pub name: Option<String>,
    pub display_title: Option<String>,
    pub html_url: Option<String>,
    pub status: Option<String>,
    pub conclusion: Option<String>,
    /// Absent before 2021.
    pub run_attempt: Option<u64>,
    pub run_number: Option<u64>,
    pub head_branch: Option<String>,
    pub head_sha: Option<String>,
    pub actor: Option<User>,
    pub triggering_actor: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Moment>,
}

/// One page of workflow runs.
#[derive(Debug, Deserialize)]
pub(in super::super) struct WorkflowRunList<'a> {
    pub total_count: u64,
    #[serde(borrow)]
    pub workflow_runs: Vec<&'a RawValue>,
}

/// A star, with its time.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Stargazer {
    #[serde(default, deserialize_with = "lenient")]
    pub starred_at: Option<Moment>,
    pub user: Option<User>,
}

/// A comment on a commit.
#[derive(Debug, Deserialize)]
pub(in super::super) struct CommitComment {
    pub id: u64,
    pub commit_id: Option<String>,
    pub body: Option<String>,
    pub path: Option<String>,
    pub html_url: Option<String>,
    pub user: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Moment>,
}
