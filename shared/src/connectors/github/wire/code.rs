//! Pushes, releases, deployments, workflow runs, stars and commit comments.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::connectors::wire::read_json;

use super::{
    Identified, Timestamp, User, flag, id, lenient, link, number, object, part_of_key, text,
};

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
    #[serde(default, deserialize_with = "flag")]
    pub created: Option<bool>,
    #[serde(default, deserialize_with = "flag")]
    pub deleted: Option<bool>,
    #[serde(default, deserialize_with = "flag")]
    pub forced: Option<bool>,
    #[serde(default, deserialize_with = "link")]
    pub compare: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub head_commit: Option<Commit>,
    /// Its commits, at most 2048.
    #[serde(default = "Commits::none")]
    pub commits: Commits,
}

/// The commits of a push, of which some may be unreadable.
#[derive(Debug, Default)]
pub(in super::super) struct Commits {
    /// Number of commits; `None` if the field is no list.
    pub count: Option<usize>,
    /// The readable ones.
    pub readable: Vec<Commit>,
}

impl Commits {
    fn none() -> Self {
        Self {
            count: Some(0),
            readable: Vec::new(),
        }
    }

    /// Returns whether the push has a commit; a field of another form does not say that it has none.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.count == Some(0)
    }
}

impl<'de> Deserialize<'de> for Commits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get() == "null" {
            return Ok(Self::none());
        }
        let Ok(rows) = serde_json::from_str::<Vec<Box<RawValue>>>(raw.get()) else {
            return Ok(Self::default());
        };
        Ok(Self {
            count: Some(rows.len()),
            readable: rows
                .iter()
                .filter_map(|row| read_json(row.get()).ok())
                .collect(),
        })
    }
}

/// A commit of a push.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Commit {
    #[serde(default, deserialize_with = "text")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub message: Option<String>,
    #[serde(default, deserialize_with = "object")]
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
    #[serde(deserialize_with = "id")]
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub tag_name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    pub draft: Option<bool>,
    #[serde(default, deserialize_with = "flag")]
    pub prerelease: Option<bool>,
    #[serde(default, deserialize_with = "object")]
    pub author: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub published_at: Option<Timestamp>,
}

/// A deployment.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Deployment {
    #[serde(default, deserialize_with = "number")]
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
    #[serde(deserialize_with = "id")]
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub state: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub environment: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub target_url: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub log_url: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub creator: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
}

/// A run of a workflow.
#[derive(Debug, Deserialize)]
pub(in super::super) struct WorkflowRun {
    #[serde(deserialize_with = "id")]
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
    #[serde(default, deserialize_with = "part_of_key")]
    pub run_attempt: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    pub run_number: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub head_branch: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub head_sha: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub actor: Option<User>,
    #[serde(default, deserialize_with = "object")]
    pub triggering_actor: Option<User>,
    #[serde(default, deserialize_with = "object")]
    pub repository: Option<Identified>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
}

/// A page of workflow runs.
#[derive(Debug, Deserialize)]
pub(in super::super) struct WorkflowRunList<'a> {
    #[serde(default, deserialize_with = "number")]
    pub total_count: Option<u64>,
    #[serde(borrow)]
    pub workflow_runs: Vec<&'a RawValue>,
}

/// A star, with its time.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Stargazer {
    #[serde(default, deserialize_with = "lenient")]
    pub starred_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "object")]
    pub user: Option<User>,
}

/// A comment on a commit.
#[derive(Debug, Deserialize)]
pub(in super::super) struct CommitComment {
    #[serde(deserialize_with = "id")]
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub commit_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub body: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub path: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub user: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
}
