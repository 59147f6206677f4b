//! The closed catalogue of kinds.

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, EnumIter, EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

/// Defines the catalogue: each kind with the text of its documentation and API description.
macro_rules! catalogue {
    ($($(#[doc = $text:literal])+ $kind:ident,)*) => {
        /// The type of a fact. The list is closed: a provider's event without a kind here
        /// produces no Signal.
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
            $($(#[doc = $text])+ $kind,)*
        }

        const DESCRIPTIONS: &[&str] = &[$(concat!($($text),+),)*];
    };
}

catalogue! {
    /// An issue was opened. `normalized`: `number`, `state`, `labels[]`, `author_association?`; for Jira `key`, `issue_type`, `state`.
    IssueCreated,
    /// An issue was closed. `normalized`: `number`, `state_reason?`, `labels[]`; for Jira `key`, `from`, `to`.
    IssueClosed,
    /// A closed issue was opened again. `normalized`: `number`; for Jira `key`, `from`, `to`.
    IssueReopened,
    /// An issue was deleted. `normalized`: `number`; for Jira `key`.
    IssueDeleted,
    /// A person was assigned to an issue. `normalized`: `number` (for Jira `key`), `assignee{id,name}`.
    IssueAssigned,
    /// A person was unassigned from an issue. `normalized`: `number` (for Jira `key`), `assignee{id,name}`.
    IssueUnassigned,
    /// An issue moved to another repository. `normalized`: `number`, `to{repository,number,url}?`.
    IssueTransferred,
    /// An issue changed otherwise. `normalized`: `number`, `change` (the provider's action), and the part that changed: `label?`, `milestone?`, `type?`, `changes{title?{from},body?}` of an edit; for Jira `key`, `fields[]{field,from,to}`.
    IssueUpdated,
    /// A comment was added to an issue. `normalized`: `number` (for Jira `key`), `comment_id`, `body`.
    IssueCommented,
    /// A comment was edited. `normalized`: `comment_id`, `body`; for Jira also `key`.
    CommentEdited,
    /// A comment was deleted. `normalized`: `comment_id`; for Jira also `key`.
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
    /// A review was requested from a person or a team. `normalized`: `number`, `reviewer{type,id,name}`.
    PrReviewRequested,
    /// A pull request changed otherwise. `normalized`: `number`, `change` (the provider's action), and the part that changed: `label?`, `assignee{id,name}?`, `milestone?`, `reviewer{type,id,name}?`, `before?` and `after?` of new commits, `changes{title?{from},body?,base?{from}}` of an edit.
    PrUpdated,
    /// A review was submitted; a review with nothing but comments gives `pr_commented` only. `normalized`: `number`, `review_id`, `state?` (`approved`, `changes_requested`, `commented`; null if the review has been dismissed since), `body?`.
    PrReviewed,
    /// A review was dismissed. `normalized`: `number`, `review_id`.
    PrReviewDismissed,
    /// A comment was added to a pull request or its diff. `normalized`: `number`, `comment_id`, `body`, `path?`.
    PrCommented,
    /// Commits were pushed to a branch, or it was reset (`forced`). `normalized`: `ref`, `before`, `after`, `forced`, `commit_count`, `commits[]{id,message,author}` (first 20).
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
    /// An answer to a discussion was chosen. `normalized`: `number`, `category?`.
    DiscussionAnswered,
    /// A comment was added to a discussion. `normalized`: `number`, `comment_id`, `body`.
    DiscussionCommented,
    /// A comment was added to a commit. `normalized`: `comment_id`, `commit_id`, `body`, `path?`.
    CommitCommented,
    /// A repository was starred. `normalized`: empty.
    RepoStarred,
    /// A star was removed. `normalized`: empty.
    RepoUnstarred,
    /// A repository was forked. `normalized`: `forkee{id,name,url}`.
    RepoForked,
    /// A milestone was created. `normalized`: `number`, `due_on?`.
    MilestoneCreated,
    /// A milestone was closed. `normalized`: `number`, `due_on?`.
    MilestoneClosed,
    /// A member was added to a repository. `normalized`: `member{id,name}`.
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
    /// A message was posted in a channel or chat. `normalized`: `ts`, `text`, `mentions_app`, `files[]{id,name}`; for Zoho Cliq `text`, `type`, `mentions_app`, `mentions[]{id,name}`, `files[]{id,name}`, `reply_to?` (id).
    MessagePosted,
    /// A reply was posted in a thread. `normalized`: `ts`, `thread_ts`, `text`, `mentions_app`, `files[]{id,name}`; for Zoho Cliq as `message_posted`, with `thread` (the channel's chat id).
    ThreadReplied,
    /// A message was edited. `normalized`: `ts`, `thread_ts?`, `text`; for Zoho Cliq as `message_posted`, with `thread?`.
    MessageEdited,
    /// A message was deleted. `normalized`: `ts`, `thread_ts?`, `text?` (the last text); for Zoho Cliq `text?`, `type?`, `mentions[]{id,name}`, `thread?`.
    MessageDeleted,
    /// A reaction was added to a message. `normalized`: `reaction`, `ts` (the message's), `item_user?`.
    ReactionAdded,
    /// A reaction was removed. `normalized`: `reaction`, `ts` (the message's), `item_user?`.
    ReactionRemoved,
    /// A channel was created. `normalized`: `name`.
    ChannelCreated,
    /// A member joined a channel. `normalized`: `member{id,name}`, `inviter?`.
    MemberJoined,
    /// A file was shared in a channel, or with the connected person. `normalized`: `file_id`; for Google Drive `mime_type`, `folder`, `shared_by{id,name}?`.
    FileShared,
    /// A file or folder was created. `normalized`: `mime_type`, `folder`, `size?` (bytes), `drive_id?` (the shared drive).
    FileCreated,
    /// A file's content was changed. `normalized`: `mime_type`, `size?` (bytes), `drive_id?`, `head_revision_id?`.
    FileUpdated,
    /// A file or folder was moved to the trash. `normalized`: `mime_type`, `folder`, `drive_id?`.
    FileTrashed,
    /// A file was deleted, or the connected person lost access to it. `normalized`: `drive_id?`.
    FileRemoved,
    /// An issue moved to another status. `normalized`: `key`, `from`, `to` (names).
    IssueStatusChanged,
    /// Work was logged on an issue. `normalized`: `key?`, `worklog_id`, `issue_id`, `seconds`.
    WorkLogged,
    /// A sprint was created. `normalized`: `sprint_id`, `board_id?`, `goal?`.
    SprintCreated,
    /// A sprint was started. `normalized`: `sprint_id`, `board_id?`, `goal?`.
    SprintStarted,
    /// A sprint was closed. `normalized`: `sprint_id`, `board_id?`, `goal?`.
    SprintClosed,
    /// A version was created. `normalized`: `version_id`, `release_date?`.
    VersionCreated,
    /// A version was released. `normalized`: `version_id`, `release_date?`.
    VersionReleased,
    /// An event was added to a calendar. `normalized`: `start`, `end` (RFC 3339, or a date), `all_day`, `time_zone?`, `recurring`, `series_id?`, `original_start?`, `event_type?`, `status?`, `ical_uid?`, `organizer{id,name}?`, `attendees?` (their number) and `responses{accepted,declined,tentative,needs_action}?` (neither if the provider omits guests), `private` (without its title).
    EventCreated,
    /// An event or a series was changed, with one Signal for a series and its exceptions. `normalized`: as for `event_created`.
    EventUpdated,
    /// An event, a series, or an instance of one was cancelled. `normalized`: `series_id?`, `original_start?`.
    EventCancelled,
    /// An email was received. `normalized`: `from{address,name}?`, `to[]` and `cc[]` (addresses), `message_id?` (the header), `thread_id?`, `labels[]?` (the provider's own), `list?` (sent to a mailing list), `auto?` (sent by a program), `folder?` (the id of the folder in which it was first found), `attachment?` (whether it has one).
    EmailReceived,
    /// An email was sent from the mailbox, to oneself included. `normalized`: as of `email_received`.
    EmailSent,
}

impl SignalKind {
    /// The kind's name in a Signal.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The meaning of the kind and the fields of `payload.normalized`.
    pub const fn description(self) -> &'static str {
        DESCRIPTIONS[self as usize].trim_ascii()
    }
}

/// An error for a text that is not a kind of the catalogue.
#[derive(Debug, thiserror::Error)]
#[error("unknown Signal kind {0:?}")]
pub struct UnknownKind(pub String);

impl TryFrom<String> for SignalKind {
    type Error = UnknownKind;

    fn try_from(text: String) -> Result<Self, UnknownKind> {
        text.parse().map_err(|_| UnknownKind(text))
    }
}
