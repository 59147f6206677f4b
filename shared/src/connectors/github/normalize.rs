//! GitHub's objects as Signals: pure functions, the same for webhooks and polling, so that
//! a fact has one identity by whichever way it arrives.
//!
//! The table of events, kinds and keys is the one in the Signal catalogue. Facts that the
//! REST API shows as well are made by functions that know nothing of deliveries
//! (`issues::created` and its like); `event` picks the one that a delivery asks for.

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

use super::wire::{Moment, Payload, Repository, Team, User, WireError};
use crate::crypto::sha256;
use crate::signals::{
    Actor, ActorKind, Context, ContextKind, SignalDraft, SignalKind, Subject, TimestampSource,
};

/// Every kind that GitHub gives.
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

/// In front of every dedupe key.
const KEY_PREFIX: &str = "github:";

/// The account that GitHub shows in place of deleted ones: its reserved name, and its id on
/// github.com.
const GHOST: &str = "ghost";
const GHOST_ID: u64 = 10_137;

/// The Signal of a delivery; `None` when the catalogue has no kind for it.
pub(super) fn event(event: &str, scene: &Scene<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    let action = scene.payload.action();
    let action = action.as_deref().unwrap_or_default();
    match event {
        "issues" => issues::event(action, scene),
        "issue_comment" => comments::issue_comment(action, scene),
        "pull_request" => pulls::event(action, scene),
        "pull_request_review" => pulls::review_event(action, scene),
        "pull_request_review_comment" => comments::review_comment(action, scene),
        "push" => code::push(scene),
        "create" | "delete" => code::reference(event, scene),
        "release" => releases::event(action, scene),
        "deployment_status" => code::deployment_status(action, scene),
        "workflow_run" => code::workflow_run_event(action, scene),
        "discussion" => community::discussion(action, scene),
        "discussion_comment" => comments::discussion_comment(action, scene),
        "commit_comment" => comments::commit_comment(action, scene),
        "star" => community::star_event(action, scene),
        "fork" => community::fork(scene),
        "milestone" => community::milestone(action, scene),
        "member" => community::member(action, scene),
        "repository" => repository::event(action, scene),
        _ => Ok(None),
    }
}

pub(super) use community::starred;

/// A delivery's payload and what surrounds it.
pub(super) struct Scene<'p, 'a> {
    /// The payload.
    pub payload: &'p Payload<'a>,
    /// The time of facts that the payload does not date.
    pub received_at: DateTime<Utc>,
}

impl Scene<'_, '_> {
    /// The repository where it happened.
    fn place(&self) -> Result<Place, WireError> {
        self.repository().map(|found| Place::from(&found))
    }

    /// The repository as the delivery shows it.
    fn repository(&self) -> Result<Repository, WireError> {
        self.payload.required("repository")
    }

    /// Who made it happen; `None` for a deleted account.
    fn sender(&self) -> Result<Option<User>, WireError> {
        self.payload.optional("sender")
    }

    /// The sender as an actor.
    fn actor(&self) -> Result<Actor, WireError> {
        self.sender().map(|sender| actor(sender.as_ref()))
    }

    /// What stands beside the object of the delivery.
    fn envelope(&self) -> Result<Envelope, WireError> {
        Ok(Envelope {
            sender: self.sender()?,
            received_at: Some(self.received_at),
        })
    }

    /// The time of receipt, for facts that the payload does not date.
    const fn receipt(&self) -> When {
        When {
            at: self.received_at,
            source: TimestampSource::Received,
        }
    }

    /// The payload's time of the fact, or else the time of receipt.
    fn when(&self, moment: Option<Moment>) -> When {
        moment.map_or(self.receipt(), When::from)
    }
}

/// What a delivery says beside its object; nothing for the row of a list.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// Who acted, when the object does not name anybody.
    pub sender: Option<User>,
    /// When the delivery was received.
    pub received_at: Option<DateTime<Utc>>,
}

impl Envelope {
    /// The object's time of the fact, or else the time of receipt.
    fn when(&self, moment: Option<Moment>, field: &'static str) -> Result<When, WireError> {
        let receipt = self.received_at.map(|at| When {
            at,
            source: TimestampSource::Received,
        });
        moment
            .map(When::from)
            .or(receipt)
            .ok_or(WireError::Missing(field))
    }
}

/// When a fact happened, and by whose clock.
#[derive(Debug, Clone, Copy)]
struct When {
    at: DateTime<Utc>,
    source: TimestampSource,
}

impl From<Moment> for When {
    fn from(moment: Moment) -> Self {
        Self {
            at: moment.0,
            source: TimestampSource::Provider,
        }
    }
}

/// The repository where facts happen.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The repository's id, which survives renames.
    pub id: String,
    /// `owner/name`.
    pub name: Option<String>,
    /// Its page.
    pub url: Option<String>,
}

impl From<&Repository> for Place {
    fn from(repository: &Repository) -> Self {
        Self {
            id: repository.id.to_string(),
            name: repository.full_name(),
            url: repository.html_url.clone(),
        }
    }
}

/// What makes a Signal, apart from the place.
struct Fact<'a> {
    kind: SignalKind,
    key: String,
    at: When,
    actor: Actor,
    subject: Subject,
    normalized: Value,
    raw: &'a RawValue,
}

impl Place {
    /// `owner/name#42`.
    fn numbered(&self, number: u64) -> Option<String> {
        self.name.as_ref().map(|name| format!("{name}#{number}"))
    }

    /// `owner/name@main`.
    fn at(&self, reference: &str) -> Option<String> {
        self.name.as_ref().map(|name| format!("{name}@{reference}"))
    }

    /// The repository itself as what a fact is about.
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

/// An account as an actor. GitHub has no account for those that were deleted, or shows its
/// placeholder: who it was is not known. An organization is nobody who acts, but has a name.
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
            // A mannequin stands for a person whose account was not migrated.
            Some("User" | "Mannequin") => ActorKind::User,
            _ => ActorKind::Unknown,
        },
    }
}

/// An account in normalized fields.
fn person(user: Option<&User>) -> Value {
    json!({
        "id": user.and_then(|user| user.id).map(|id| id.to_string()),
        "name": user.and_then(|user| user.login.as_ref()),
    })
}

/// Of whom a review is asked: the id of a person or a team, and its fields.
fn reviewer(scene: &Scene<'_, '_>) -> Result<(Option<u64>, Value), WireError> {
    let person: Option<User> = scene.payload.optional("requested_reviewer")?;
    let team: Option<Team> = scene.payload.optional("requested_team")?;
    let (kind, id, name) = match (person, team) {
        (Some(person), _) => ("user", person.id, person.login),
        (None, Some(team)) => ("team", team.id, team.name),
        (None, None) => ("unknown", None, None),
    };
    let text = id.map(|id| id.to_string());
    Ok((id, json!({ "type": kind, "id": text, "name": name })))
}

/// What tells edits of one second apart: the first 12 hex digits of SHA-256 over the texts.
fn digest(texts: &[&str]) -> String {
    hex::encode(&sha256(texts.join("\0").as_bytes())[..6])
}

/// A field without which there is no fact.
fn need<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Missing(field))
}
