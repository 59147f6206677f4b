//! Things people talk in: issues, pull requests, reviews, discussions, their comments.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Moment, Named, User, lenient, link, list, text};

/// An issue. In the REST API's lists a pull request is one too.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Issue {
    pub id: u64,
    pub number: u64,
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
    pub user: Option<User>,
    pub closed_by: Option<User>,
    #[serde(default, deserialize_with = "text")]
    pub author_association: Option<String>,
    pub pull_request: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub closed_at: Option<Moment>,
}

/// A label: an object, or in some REST answers its bare name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in super::super) enum Label {
    /// As documented.
    Full {
        /// Its name.
        name: Option<String>,
    },
    /// Its name alone.
    Name(String),
}

/// A part of an issue or a pull request: a label, a milestone, a type.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Part {
    pub id: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
    /// Milestones have a title instead of a name.
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
    pub id: u64,
    pub number: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    pub creator: Option<User>,
    #[serde(default, deserialize_with = "text")]
    pub due_on: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub closed_at: Option<Moment>,
}

/// A comment on an issue, a pull request, its diff, or a discussion.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Comment {
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub body: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    /// Only where the REST API lists comments: which issue it belongs to.
    #[serde(default, deserialize_with = "text")]
    pub issue_url: Option<String>,
    /// Only where the REST API lists review comments.
    #[serde(default, deserialize_with = "text")]
    pub pull_request_url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub path: Option<String>,
    pub user: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Moment>,
}

/// A pull request.
#[derive(Debug, Deserialize)]
pub(in super::super) struct PullRequest {
    pub id: u64,
    pub number: u64,
    #[serde(default, deserialize_with = "text")]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub body: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub state: Option<String>,
    pub draft: Option<bool>,
    /// Absent where the REST API lists pull requests.
    pub merged: Option<bool>,
    pub merged_by: Option<User>,
    #[serde(default, deserialize_with = "text")]
    pub merge_commit_sha: Option<String>,
    pub user: Option<User>,
    pub base: Option<Tip>,
    pub head: Option<Tip>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub closed_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub merged_at: Option<Moment>,
}

impl PullRequest {
    /// Whether it was merged; lists only say when.
    pub(in super::super) fn is_merged(&self) -> bool {
        self.merged.unwrap_or(self.merged_at.is_some())
    }
}

/// One end of a pull request.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Tip {
    #[serde(default, rename = "ref", deserialize_with = "text")]
    pub name: Option<String>,
}

/// A review of a pull request.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Review {
    pub id: u64,
    #[serde(default, deserialize_with = "text")]
    pub state: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub body: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    pub user: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub submitted_at: Option<Moment>,
    /// Absent in older payloads.
    #[serde(default, deserialize_with = "lenient")]
    pub updated_at: Option<Moment>,
}

/// A team that was asked for a review.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Team {
    pub id: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub name: Option<String>,
}

/// A discussion.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Discussion {
    pub id: u64,
    pub number: u64,
    #[serde(default, deserialize_with = "text")]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "link")]
    pub html_url: Option<String>,
    pub user: Option<User>,
    pub category: Option<Named>,
    pub answer_chosen_by: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Moment>,
    #[serde(default, deserialize_with = "lenient")]
    pub answer_chosen_at: Option<Moment>,
}
