//! Issues, pull requests, reviews, discussions and their comments.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{
    Identified, Named, Timestamp, User, flag, id, lenient, link, list, number, object, part_of_key,
    text,
};

/// An issue. The REST API's lists contain pull requests as issues, too.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Issue {
    #[serde(deserialize_with = "id")]
    pub id: u64,
    #[serde(default, deserialize_with = "number")]
    pub number: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub body: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub state: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub state_reason: Option<String>,
    #[serde(default, deserialize_with = "list")]
    pub labels: Vec<Label>,
    #[serde(default, deserialize_with = "object")]
    pub user: Option<User>,
    #[serde(default, deserialize_with = "object")]
    pub closed_by: Option<User>,
    #[serde(default, deserialize_with = "text")]
    pub author_association: Option<String>,
    pub pull_request: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub closed_at: Option<Timestamp>,
}

/// A label: an object or, in some REST responses, its name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in super::super) enum Label {
    /// The documented object.
    Full {
        /// Name.
        name: Option<String>,
    },
    /// Name only.
    Name(String),
}

/// A part of an issue or a pull request: a label, a milestone, a type.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Part {
    #[serde(default, deserialize_with = "part_of_key")]
    pub id: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    /// Title, which milestones have instead of a name.
    #[serde(default, deserialize_with = "text")]
    pub title: Option<String>,
}

impl Label {
    pub(in super::super) fn name(&self) -> Option<&str> {
        match self {
            Self::Full { name } => name.as_deref(),
            Self::Name(name) => Some(name),
        }
    }
}

/// A milestone.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Milestone {
    #[serde(deserialize_with = "id")]
    pub id: u64,
    #[serde(default, deserialize_with = "number")]
    pub number: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub creator: Option<User>,
    #[serde(default, deserialize_with = "text")]
    pub due_on: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub closed_at: Option<Timestamp>,
}

/// A comment on an issue, a pull request, its diff, or a discussion.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Comment {
    #[serde(deserialize_with = "id")]
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub body: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    /// URL of its issue; only in the REST API's lists of comments.
    #[serde(default, deserialize_with = "text")]
    pub issue_url: Option<String>,
    /// URL of its pull request; only in the REST API's lists of review comments.
    #[serde(default, deserialize_with = "text")]
    pub pull_request_url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub path: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub user: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
}

/// A pull request.
#[derive(Debug, Deserialize)]
pub(in super::super) struct PullRequest {
    #[serde(deserialize_with = "id")]
    pub id: u64,
    #[serde(default, deserialize_with = "number")]
    pub number: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub body: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub state: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    pub draft: Option<bool>,
    /// Whether it is merged; missing in the REST API's lists.
    #[serde(default, deserialize_with = "flag")]
    pub merged: Option<bool>,
    #[serde(default, deserialize_with = "object")]
    pub merged_by: Option<User>,
    #[serde(default, deserialize_with = "text")]
    pub merge_commit_sha: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub user: Option<User>,
    #[serde(default, deserialize_with = "object")]
    pub base: Option<BranchRef>,
    #[serde(default, deserialize_with = "object")]
    pub head: Option<BranchRef>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub closed_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub merged_at: Option<Timestamp>,
}

impl PullRequest {
    /// Returns whether it is merged; lists contain only the time.
    pub(in super::super) fn is_merged(&self) -> bool {
        self.merged.unwrap_or(self.merged_at.is_some())
    }
}

/// The base or head branch of a pull request.
#[derive(Debug, Deserialize)]
pub(in super::super) struct BranchRef {
    #[serde(default, rename = "ref", deserialize_with = "text")]
    pub name: Option<String>,
    /// The branch's repository.
    #[serde(default, deserialize_with = "object")]
    pub repo: Option<Identified>,
}

/// A review of a pull request.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Review {
    #[serde(deserialize_with = "id")]
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub state: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub body: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub user: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub submitted_at: Option<Timestamp>,
    /// Time of the last update; missing in older payloads.
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Timestamp>,
}

/// A team that is requested as a reviewer.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Team {
    #[serde(default, deserialize_with = "part_of_key")]
    pub id: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
}

/// A discussion.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Discussion {
    #[serde(deserialize_with = "id")]
    pub id: u64,
    #[serde(default, deserialize_with = "number")]
    pub number: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub user: Option<User>,
    #[serde(default, deserialize_with = "object")]
    pub category: Option<Named>,
    #[serde(default, deserialize_with = "object")]
    pub answer_chosen_by: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub answer_chosen_at: Option<Timestamp>,
}
