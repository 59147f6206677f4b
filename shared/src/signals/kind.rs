//! The closed catalogue of kinds.

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, EnumIter, EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

/// What happened. The list is closed: a provider's event that has no kind here gives no
/// Signal.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    AsRefStr,
    EnumIter,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SignalKind {
    /// An issue was opened. `normalized`: `number`, `state`, `labels[]`, `author_association?`.
    IssueCreated,
    /// An issue was closed. `normalized`: `number`, `state_reason?`, `labels[]`.
    IssueClosed,
    /// A closed issue was opened again. `normalized`: `number`.
    IssueReopened,
    /// An issue was deleted. `normalized`: `number`.
    IssueDeleted,
    /// Somebody was assigned to an issue. `normalized`: `number`, `assignee{id,name}`.
    IssueAssigned,
    /// Somebody was unassigned from an issue. `normalized`: `number`, `assignee{id,name}`.
    IssueUnassigned,
    /// An issue moved to another repository. `normalized`: `number`, `to{repository,number,url}?`.
    IssueTransferred,
    /// An issue changed otherwise. `normalized`: `number`, `change` (the provider's action), `label?`, `milestone?`.
    IssueUpdated,
    /// Somebody commented on an issue. `normalized`: `number`, `comment_id`, `body`.
    IssueCommented,
    /// A comment was edited. `normalized`: `comment_id`, `body`.
    CommentEdited,
    /// A comment was deleted. `normalized`: `comment_id`.
    CommentDeleted,
    /// A pull request was opened. `normalized`: `number`, `draft`, `base`, `head`.
    PrOpened,
    /// A pull request was merged. `normalized`: `number`, `base`, `head`, `merge_commit_sha?`.
    PrMerged,
    /// A pull request was closed without merging. `normalized`: `number`, `base`, `head`.
    PrClosed,
    /// A closed pull request was opened again. `normalized`: `number`.
    PrReopened,
    /// A draft pull request became ready for review. `normalized`: `number`.
    PrReadyForReview,
    /// A review was asked of a person or a team. `normalized`: `number`, `reviewer{type,id,name}`.
    PrReviewRequested,
    /// A pull request changed otherwise. `normalized`: `number`, `change` (the provider's action).
    PrUpdated,
    /// A review was submitted. `normalized`: `number`, `review_id`, `state?` (`approved`, `changes_requested`, `commented`; null when the review has been dismissed since), `body?`.
    PrReviewed,
    /// A review was dismissed. `normalized`: `number`, `review_id`.
    PrReviewDismissed,
    /// Somebody commented on a pull request or its diff. `normalized`: `number`, `comment_id`, `body`, `path?`.
    PrCommented,
    /// Commits were pushed to a branch. `normalized`: `ref`, `before`, `after`, `forced`, `commit_count`, `commits[]{id,message,author}` (first 20).
    CommitsPushed,
    /// A branch was created. `normalized`: `ref`.
    BranchCreated,
    /// A tag was created. `normalized`: `ref`.
    TagCreated,
    /// A branch was deleted. `normalized`: `ref`.
    BranchDeleted,
    /// A tag was deleted. `normalized`: `ref`.
    TagDeleted,
    /// A release was published. `normalized`: `tag`, `prerelease`.
    ReleasePublished,
    /// A release was edited. `normalized`: `tag`, `prerelease`.
    ReleaseEdited,
    /// A release was deleted. `normalized`: `tag`, `prerelease`.
    ReleaseDeleted,
    /// A deployment reached a state. `normalized`: `state`, `environment`, `deployment_id`, `ref?`, `sha?`.
    DeploymentStatusChanged,
    /// A workflow run ended. `normalized`: `workflow`, `conclusion`, `run_attempt`, `run_number?`, `branch?`, `sha?`.
    WorkflowCompleted,
    /// A discussion was started. `normalized`: `number`, `category?`.
    DiscussionCreated,
    /// A discussion's answer was chosen. `normalized`: `number`, `category?`.
    DiscussionAnswered,
    /// Somebody commented on a discussion. `normalized`: `number`, `comment_id`, `body`.
    DiscussionCommented,
    /// Somebody commented on a commit. `normalized`: `comment_id`, `commit_id`, `body`, `path?`.
    CommitCommented,
    /// A repository was starred. `normalized`: empty.
    RepoStarred,
    /// A star was taken back. `normalized`: empty.
    RepoUnstarred,
    /// A repository was forked. `normalized`: `forkee{id,name,url}`.
    RepoForked,
    /// A milestone was created. `normalized`: `number`, `due_on?`.
    MilestoneCreated,
    /// A milestone was closed. `normalized`: `number`, `due_on?`.
    MilestoneClosed,
    /// Somebody was added to a repository. `normalized`: `member{id,name}`.
    MemberAdded,
    /// A repository was created. `normalized`: `private`.
    RepoCreated,
    /// A repository became public. `normalized`: `private`.
    RepoPublicized,
    /// A repository was archived. `normalized`: `private`.
    RepoArchived,
    /// A repository was renamed. `normalized`: `private`, `from`.
    RepoRenamed,
    /// A repository moved to another owner. `normalized`: `private`, `from?`.
    RepoTransferred,
}

impl SignalKind {
    /// The kind's name as it stands in a Signal.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// What the kind means and which fields `payload.normalized` carries.
    pub const fn description(self) -> &'static str {
        match self {
            Self::IssueCreated => {
                "An issue was opened. `normalized`: `number`, `state`, `labels[]`, `author_association?`."
            }
            Self::IssueClosed => {
                "An issue was closed. `normalized`: `number`, `state_reason?`, `labels[]`."
            }
            Self::IssueReopened => "A closed issue was opened again. `normalized`: `number`.",
            Self::IssueDeleted => "An issue was deleted. `normalized`: `number`.",
            Self::IssueAssigned => {
                "Somebody was assigned to an issue. `normalized`: `number`, `assignee{id,name}`."
            }
            Self::IssueUnassigned => {
                "Somebody was unassigned from an issue. `normalized`: `number`, `assignee{id,name}`."
            }
            Self::IssueTransferred => {
                "An issue moved to another repository. `normalized`: `number`, `to{repository,number,url}?`."
            }
            Self::IssueUpdated => {
                "An issue changed otherwise. `normalized`: `number`, `change` (the provider's action), `label?`, `milestone?`."
            }
            Self::IssueCommented => {
                "Somebody commented on an issue. `normalized`: `number`, `comment_id`, `body`."
            }
            Self::CommentEdited => "A comment was edited. `normalized`: `comment_id`, `body`.",
            Self::CommentDeleted => "A comment was deleted. `normalized`: `comment_id`.",
            Self::PrOpened => {
                "A pull request was opened. `normalized`: `number`, `draft`, `base`, `head`."
            }
            Self::PrMerged => {
                "A pull request was merged. `normalized`: `number`, `base`, `head`, `merge_commit_sha?`."
            }
            Self::PrClosed => {
                "A pull request was closed without merging. `normalized`: `number`, `base`, `head`."
            }
            Self::PrReopened => "A closed pull request was opened again. `normalized`: `number`.",
            Self::PrReadyForReview => {
                "A draft pull request became ready for review. `normalized`: `number`."
            }
            Self::PrReviewRequested => {
                "A review was asked of a person or a team. `normalized`: `number`, `reviewer{type,id,name}`."
            }
            Self::PrUpdated => {
                "A pull request changed otherwise. `normalized`: `number`, `change` (the provider's action)."
            }
            Self::PrReviewed => {
                "A review was submitted. `normalized`: `number`, `review_id`, `state?` (`approved`, `changes_requested`, `commented`; null when the review has been dismissed since), `body?`."
            }
            Self::PrReviewDismissed => {
                "A review was dismissed. `normalized`: `number`, `review_id`."
            }
            Self::PrCommented => {
                "Somebody commented on a pull request or its diff. `normalized`: `number`, `comment_id`, `body`, `path?`."
            }
            Self::CommitsPushed => {
                "Commits were pushed to a branch. `normalized`: `ref`, `before`, `after`, `forced`, `commit_count`, `commits[]{id,message,author}` (first 20)."
            }
            Self::BranchCreated => "A branch was created. `normalized`: `ref`.",
            Self::TagCreated => "A tag was created. `normalized`: `ref`.",
            Self::BranchDeleted => "A branch was deleted. `normalized`: `ref`.",
            Self::TagDeleted => "A tag was deleted. `normalized`: `ref`.",
            Self::ReleasePublished => "A release was published. `normalized`: `tag`, `prerelease`.",
            Self::ReleaseEdited => "A release was edited. `normalized`: `tag`, `prerelease`.",
            Self::ReleaseDeleted => "A release was deleted. `normalized`: `tag`, `prerelease`.",
            Self::DeploymentStatusChanged => {
                "A deployment reached a state. `normalized`: `state`, `environment`, `deployment_id`, `ref?`, `sha?`."
            }
            Self::WorkflowCompleted => {
                "A workflow run ended. `normalized`: `workflow`, `conclusion`, `run_attempt`, `run_number?`, `branch?`, `sha?`."
            }
            Self::DiscussionCreated => {
                "A discussion was started. `normalized`: `number`, `category?`."
            }
            Self::DiscussionAnswered => {
                "A discussion's answer was chosen. `normalized`: `number`, `category?`."
            }
            Self::DiscussionCommented => {
                "Somebody commented on a discussion. `normalized`: `number`, `comment_id`, `body`."
            }
            Self::CommitCommented => {
                "Somebody commented on a commit. `normalized`: `comment_id`, `commit_id`, `body`, `path?`."
            }
            Self::RepoStarred => "A repository was starred. `normalized`: empty.",
            Self::RepoUnstarred => "A star was taken back. `normalized`: empty.",
            Self::RepoForked => "A repository was forked. `normalized`: `forkee{id,name,url}`.",
            Self::MilestoneCreated => "A milestone was created. `normalized`: `number`, `due_on?`.",
            Self::MilestoneClosed => "A milestone was closed. `normalized`: `number`, `due_on?`.",
            Self::MemberAdded => {
                "Somebody was added to a repository. `normalized`: `member{id,name}`."
            }
            Self::RepoCreated => "A repository was created. `normalized`: `private`.",
            Self::RepoPublicized => "A repository became public. `normalized`: `private`.",
            Self::RepoArchived => "A repository was archived. `normalized`: `private`.",
            Self::RepoRenamed => "A repository was renamed. `normalized`: `private`, `from`.",
            Self::RepoTransferred => {
                "A repository moved to another owner. `normalized`: `private`, `from?`."
            }
        }
    }
}

/// A text that names no kind of the catalogue.
#[derive(Debug, thiserror::Error)]
#[error("not a kind of Signal: {0:?}")]
pub struct UnknownKind(pub String);

impl TryFrom<String> for SignalKind {
    type Error = UnknownKind;

    fn try_from(text: String) -> Result<Self, UnknownKind> {
        text.parse().map_err(|_| UnknownKind(text))
    }
}
