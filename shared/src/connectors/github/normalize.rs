//! Normalization of GitHub's objects to Signals.
//!
//! Webhooks and polling use the same pure functions, so that a fact has the same identity in both.
//! The Signal catalogue lists the events, kinds and keys. Facts that the REST API contains too are
//! built by functions that are independent of deliveries (such as `issues::created`); `event`
//! selects the function for a delivery.

mod changes;
pub(super) mod code;
pub(super) mod comments;
mod community;
pub(super) mod issues;
pub(super) mod pulls;
pub(super) mod releases;
mod repository;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::wire::{Payload, Repository, Team, Timestamp, User, WireError};
use crate::crypto::sha256;
use crate::model::{
    Actor, ActorKind, Context, ContextKind, SignalDraft, SignalKind, Subject, TimestampSource,
};

/// All kinds that GitHub's events and objects yield.
pub(super) const KINDS: &[SignalKind] = &[
    SignalKind::IssueCreated,
    SignalKind::IssueClosed,
    SignalKind::IssueReopened,
    SignalKind::IssueDeleted,
    SignalKind::IssueAssigned,
    SignalKind::IssueUnassigned,
    SignalKind::IssueTransferred,
    SignalKind::IssueUpdated,
    SignalKind::IssueCommented,
    SignalKind::CommentEdited,
    SignalKind::CommentDeleted,
    SignalKind::PrOpened,
    SignalKind::PrMerged,
    SignalKind::PrClosed,
    SignalKind::PrReopened,
    SignalKind::PrReadyForReview,
    SignalKind::PrReviewRequested,
    SignalKind::PrUpdated,
    SignalKind::PrReviewed,
    SignalKind::PrReviewDismissed,
    SignalKind::PrCommented,
    SignalKind::CommitsPushed,
    SignalKind::BranchCreated,
    SignalKind::TagCreated,
    SignalKind::BranchDeleted,
    SignalKind::TagDeleted,
    SignalKind::ReleasePublished,
    SignalKind::ReleaseEdited,
    SignalKind::ReleaseDeleted,
    SignalKind::DeploymentStatusChanged,
    SignalKind::WorkflowCompleted,
    SignalKind::DiscussionCreated,
    SignalKind::DiscussionAnswered,
    SignalKind::DiscussionCommented,
    SignalKind::CommitCommented,
    SignalKind::RepoStarred,
    SignalKind::RepoUnstarred,
    SignalKind::RepoForked,
    SignalKind::MilestoneCreated,
    SignalKind::MilestoneClosed,
    SignalKind::MemberAdded,
    SignalKind::RepoCreated,
    SignalKind::RepoPublicized,
    SignalKind::RepoArchived,
    SignalKind::RepoRenamed,
    SignalKind::RepoTransferred,
];

/// Prefix of all dedupe keys.
const KEY_PREFIX: &str = "github:";

/// Placeholder of deleted accounts: its reserved login, and its id on github.com.
const GHOST: &str = "ghost";
const GHOST_ID: u64 = 10_137;

/// Normalizes a delivery; `None` if the catalogue has no kind for it.
pub(super) fn event(
    event: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    let action = context.payload.action();
    let action = action.as_deref().unwrap_or_default();
    match event {
        "issues" => issues::event(action, context),
        "issue_comment" => comments::issue_comment(action, context),
        "pull_request" => pulls::event(action, context),
        "pull_request_review" => pulls::review_event(action, context),
        "pull_request_review_comment" => comments::review_comment(action, context),
        "push" => code::push(context),
        "create" | "delete" => code::reference(event, context),
        "release" => releases::event(action, context),
        "deployment_status" => code::deployment_status(action, context),
        "workflow_run" => code::workflow_run_event(action, context),
        "discussion" => community::discussion(action, context),
        "discussion_comment" => comments::discussion_comment(action, context),
        "commit_comment" => comments::commit_comment(action, context),
        "star" => community::star_event(action, context),
        "fork" => community::fork(context),
        "milestone" => community::milestone(action, context),
        "member" => community::member(action, context),
        "repository" => repository::event(action, context),
        _ => Ok(None),
    }
}

pub(super) use community::starred;

/// Input of normalization: a delivery's payload and its time of receipt.
pub(super) struct NormalizeContext<'p, 'a> {
    /// The payload.
    pub payload: &'p Payload<'a>,
    /// Time of receipt, for facts whose time the payload does not contain.
    pub received_at: DateTime<Utc>,
}

impl NormalizeContext<'_, '_> {
    /// Reference to the repository.
    fn repo(&self) -> Result<RepositoryRef, WireError> {
        self.repository()
            .map(|repository| RepositoryRef::from(&repository))
    }

    /// The payload's repository.
    fn repository(&self) -> Result<Repository, WireError> {
        self.payload.required("repository")
    }

    /// The payload's sender; `None` for a deleted account.
    fn sender(&self) -> Result<Option<User>, WireError> {
        self.payload.optional("sender")
    }

    /// The sender as an actor.
    fn actor(&self) -> Result<Actor, WireError> {
        self.sender().map(|sender| actor(sender.as_ref()))
    }

    /// The metadata beside the payload's object.
    fn envelope(&self) -> Result<Envelope, WireError> {
        Ok(Envelope {
            sender: self.sender()?,
            received_at: Some(self.received_at),
        })
    }

    /// The time of receipt.
    const fn receipt_time(&self) -> FactTime {
        FactTime {
            at: self.received_at,
            source: TimestampSource::Received,
        }
    }

    /// The given time, or else the time of receipt.
    fn time_or_receipt(&self, timestamp: Option<Timestamp>) -> FactTime {
        timestamp.map_or(self.receipt_time(), FactTime::from)
    }
}

/// Metadata of a delivery beside its object; empty for a row of a list.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// The sender, for objects without an actor.
    pub sender: Option<User>,
    /// Time of receipt.
    pub received_at: Option<DateTime<Utc>>,
}

impl Envelope {
    /// The given time, or else the time of receipt.
    fn time_or_receipt(
        &self,
        timestamp: Option<Timestamp>,
        field: &'static str,
    ) -> Result<FactTime, WireError> {
        let receipt = self.received_at.map(|at| FactTime {
            at,
            source: TimestampSource::Received,
        });
        timestamp
            .map(FactTime::from)
            .or(receipt)
            .ok_or(WireError::Missing(field))
    }
}

/// Time of a fact, and the source of that time.
#[derive(Debug, Clone, Copy)]
struct FactTime {
    at: DateTime<Utc>,
    source: TimestampSource,
}

impl From<Timestamp> for FactTime {
    fn from(timestamp: Timestamp) -> Self {
        Self {
            at: timestamp.0,
            source: TimestampSource::Provider,
        }
    }
}

/// Reference to the repository of a fact.
#[derive(Debug, Clone)]
pub(super) struct RepositoryRef {
    /// Id, which survives renames.
    pub id: String,
    /// `owner/name`.
    pub name: Option<String>,
    /// Web page.
    pub url: Option<String>,
}

impl From<&Repository> for RepositoryRef {
    fn from(repository: &Repository) -> Self {
        Self {
            id: repository.id.to_string(),
            name: repository.full_name(),
            url: repository.html_url.clone(),
        }
    }
}

/// The parts of a Signal that do not depend on the repository.
struct Fact<'a> {
    kind: SignalKind,
    key: String,
    at: FactTime,
    actor: Actor,
    subject: Subject,
    normalized: Value,
    raw: &'a RawValue,
}

impl RepositoryRef {
    /// `owner/name#42`.
    fn numbered(&self, number: Option<u64>) -> Option<String> {
        let (name, number) = (self.name.as_ref()?, number?);
        Some(format!("{name}#{number}"))
    }

    /// `owner/name@main`.
    fn at(&self, reference: &str) -> Option<String> {
        self.name.as_ref().map(|name| format!("{name}@{reference}"))
    }

    /// The repository as a subject.
    fn subject(&self) -> Subject {
        Subject {
            kind: "repository".to_owned(),
            id: self.id.clone(),
            key: self.name.clone(),
            title: self.name.clone(),
            url: self.url.clone(),
        }
    }

    fn signal(&self, fact: Fact<'_>) -> SignalDraft {
        let Fact {
            kind,
            key,
            at,
            actor,
            subject,
            normalized,
            raw,
        } = fact;
        SignalDraft {
            kind,
            dedupe_key: format!("{KEY_PREFIX}{key}"),
            timestamp: at.at,
            timestamp_source: at.source,
            actor,
            subject,
            context: Context {
                kind: ContextKind::Repository,
                id: self.id.clone(),
                name: self.name.clone(),
            },
            normalized,
            raw: raw.to_owned(),
        }
        .cleaned()
    }
}

/// Normalizes an account as an actor.
///
/// A deleted account is missing or replaced by a placeholder, so the actor is unknown. An
/// organization has a name and no actor kind.
fn actor(user: Option<&User>) -> Actor {
    let is_known = |user: &&User| {
        let is_ghost = user.id == Some(GHOST_ID) || user.login.as_deref() == Some(GHOST);
        !is_ghost && (user.id.is_some() || user.login.is_some())
    };
    let Some(user) = user.filter(is_known) else {
        return Actor::unknown();
    };
    Actor {
        id: user.id.map(|id| id.to_string()),
        name: user.login.clone(),
        kind: match user.kind.as_deref() {
            Some("Bot") => ActorKind::Bot,
            // A mannequin is the placeholder of a person whose account was not migrated.
            Some("User" | "Mannequin") => ActorKind::User,
            _ => ActorKind::Unknown,
        },
    }
}

/// Normalizes an account for kind-specific fields.
fn user_json(user: Option<&User>) -> Value {
    json!({
        "id": user.and_then(|user| user.id).map(|id| id.to_string()),
        "name": user.and_then(|user| user.login.as_ref()),
    })
}

/// Returns the requested reviewer: the id of a user or a team, and its fields.
fn reviewer(context: &NormalizeContext<'_, '_>) -> Result<(Option<u64>, Value), WireError> {
    let user: Option<User> = context.payload.optional("requested_reviewer")?;
    let team: Option<Team> = context.payload.optional("requested_team")?;
    let (kind, id, name) = match (user, team) {
        (Some(user), _) => ("user", user.id, user.login),
        (None, Some(team)) => ("team", team.id, team.name),
        (None, None) => ("unknown", None, None),
    };
    let text = id.map(|id| id.to_string());
    Ok((id, json!({ "type": kind, "id": text, "name": name })))
}

/// A digest that distinguishes edits of the same second.
///
/// It has the first 12 hex digits of the SHA-256 of the texts.
fn digest(texts: &[&str]) -> String {
    hex::encode(&sha256(texts.join("\0").as_bytes())[..6])
}

/// Returns a required field's value, or the error that it is missing.
fn require<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Missing(field))
}
