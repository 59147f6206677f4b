//! Jira's objects as Signals: pure functions, the same for webhooks and polling, so that a fact
//! has one identity by whichever way it arrives.
//!
//! The table of events, kinds and keys is the one in the Signal catalogue. A change of an issue
//! is one history with an id and may tell several facts.

mod agile;
mod comments;
mod issues;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

pub(super) use agile::{
    sprint_closed, sprint_created, sprint_started, version_created, version_released,
};
pub(super) use comments::{commented, edited, worked};
pub(super) use issues::{changed, created};

use super::wire::{Fields, Issue, Payload, Project, User, WireError};
use crate::connectors::wire::plausible;
use crate::connectors::{Directory, DirectoryKind, ExternalAccount};
use crate::signals::{
    Actor, ActorKind, Context, ContextKind, SignalDraft, SignalKind, Subject, TimestampSource,
    mark_received,
};

/// Every kind that Jira gives.
pub(super) const KINDS: &[SignalKind] = &[
    SignalKind::IssueCreated,
    SignalKind::IssueClosed,
    SignalKind::IssueReopened,
    SignalKind::IssueStatusChanged,
    SignalKind::IssueAssigned,
    SignalKind::IssueUnassigned,
    SignalKind::IssueUpdated,
    SignalKind::IssueDeleted,
    SignalKind::IssueCommented,
    SignalKind::CommentEdited,
    SignalKind::CommentDeleted,
    SignalKind::WorkLogged,
    SignalKind::SprintCreated,
    SignalKind::SprintStarted,
    SignalKind::SprintClosed,
    SignalKind::VersionCreated,
    SignalKind::VersionReleased,
];

/// Where things happen, and what is known of it.
pub(super) struct Scene<'a> {
    /// The site.
    pub(super) account: &'a ExternalAccount,
    /// Its statuses, and issues that are named by number only.
    pub(super) directory: &'a Directory,
}

/// What makes a Signal, apart from the site.
struct Fact<'a> {
    kind: SignalKind,
    key: String,
    at: DateTime<Utc>,
    actor: Actor,
    subject: Subject,
    context: Context,
    normalized: Value,
    raw: &'a RawValue,
}

/// The Signals of a delivery; none when the catalogue has no kind for it.
pub(super) fn event(
    scene: &Scene<'_>,
    payload: &Payload<'_>,
    received_at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    let sent = payload
        .timestamp
        .and_then(DateTime::from_timestamp_millis)
        .and_then(plausible);
    let mut facts = event_at(scene, payload, sent.unwrap_or(received_at))?;
    if sent.is_none() {
        mark_received(&mut facts, received_at);
    }
    Ok(facts)
}

/// The Signals of a delivery that was sent `at`.
fn event_at(
    scene: &Scene<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    let one = |signal: SignalDraft| Ok(vec![signal]);
    match payload.event.as_deref().unwrap_or_default() {
        "jira:issue_created" => one(issues::created_event(scene, payload, at)?),
        "jira:issue_updated" => issues::updated_event(scene, payload, at),
        "jira:issue_deleted" => one(issues::deleted_event(scene, payload, at)?),
        "comment_created" => one(comments::event(
            scene,
            payload,
            at,
            comments::What::Created,
        )?),
        "comment_updated" => one(comments::event(scene, payload, at, comments::What::Edited)?),
        "comment_deleted" => one(comments::event(
            scene,
            payload,
            at,
            comments::What::Deleted,
        )?),
        "worklog_created" => one(comments::worklog_event(scene, payload, at)?),
        "sprint_created" => one(agile::sprint_event(scene, payload, at, sprint_created)?),
        "sprint_started" => one(agile::sprint_event(scene, payload, at, sprint_started)?),
        "sprint_closed" => one(agile::sprint_event(scene, payload, at, sprint_closed)?),
        "jira:version_created" => one(agile::version_event(scene, payload, at, version_created)?),
        "jira:version_released" => one(agile::version_event(scene, payload, at, version_released)?),
        _ => Ok(Vec::new()),
    }
}

impl Scene<'_> {
    fn signal(&self, fact: Fact<'_>) -> SignalDraft {
        SignalDraft {
            kind: fact.kind,
            dedupe_key: format!("jira:{}:{}", self.account.id, fact.key),
            timestamp: fact.at,
            timestamp_source: TimestampSource::Provider,
            actor: fact.actor,
            subject: fact.subject,
            context: fact.context,
            normalized: fact.normalized,
            raw: fact.raw.to_owned(),
        }
        .cleaned()
    }

    /// A deep link into the site.
    fn link(&self, path: &[&str]) -> Option<Url> {
        let mut url = Url::parse(self.account.settings["url"].as_str()?)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(path);
        Some(url)
    }

    fn issue_subject(&self, issue: &Issue) -> Result<Subject, WireError> {
        let fields = issue.fields.as_ref();
        Ok(Subject {
            kind: "issue".to_owned(),
            id: issue.id.clone().ok_or(WireError::Missing("issue.id"))?,
            key: issue.key.clone(),
            title: fields.and_then(|fields| fields.summary.clone()),
            url: issue
                .key
                .as_ref()
                .and_then(|key| self.link(&["browse", key]))
                .map(Into::into),
        })
    }

    /// Whether a status means that the work is done; `None` when nobody knows. What the payload
    /// itself says of the status comes before what the site's list said.
    fn is_done(&self, status: Option<&str>, issue: &Issue) -> Option<bool> {
        let status = status?;
        let shown = issue
            .fields
            .as_ref()
            .and_then(|fields| fields.status.as_ref());
        let category = shown
            .filter(|shown| shown.id.as_deref() == Some(status))
            .and_then(|shown| shown.category.as_ref()?.key.clone());
        if let Some(category) = category {
            return Some(category == "done");
        }
        let entry = self.directory.get(DirectoryKind::Status, status)?;
        Some(entry.detail["category"].as_str()? == "done")
    }

    /// An issue of which a delivery tells the number only, as far as the directory knows it.
    fn known_issue(&self, id: Option<String>) -> Issue {
        let Some(id) = id else {
            return Issue::default();
        };
        let entry = self.directory.get(DirectoryKind::Issue, &id);
        let detail = entry.as_ref().map(|entry| &entry.detail);
        Issue {
            key: entry.as_ref().and_then(|entry| entry.name.clone()),
            fields: detail.map(|detail| Fields {
                summary: detail["summary"].as_str().map(str::to_owned),
                project: Project::deserialize(&detail["project"]).ok(),
                ..Fields::default()
            }),
            id: Some(id),
            ..Issue::default()
        }
    }
}

/// The project that an issue belongs to. Partial issues name it in their key only, which is a name
/// and no id.
fn project_of(issue: &Issue) -> Context {
    let project = issue
        .fields
        .as_ref()
        .and_then(|fields| fields.project.as_ref());
    let key = issue
        .key
        .as_ref()
        .and_then(|key| Some(key.rsplit_once('-')?.0.to_owned()));
    context(project, key)
}

fn context(project: Option<&Project>, key: Option<String>) -> Context {
    let key = project.and_then(|project| project.key.clone()).or(key);
    Context {
        kind: ContextKind::Project,
        id: project
            .and_then(|project| project.id.clone())
            .unwrap_or_default(),
        name: project.and_then(|project| project.name.clone()).or(key),
    }
}

/// A person or an app. Whose account was erased has an id and no name; a name alone is no id.
fn actor(user: Option<&User>) -> Actor {
    let user = user.cloned().unwrap_or_default();
    let id = user.account_id.or(user.key);
    let name = user.display_name.or(user.name);
    if id.is_none() && name.is_none() {
        return Actor::unknown();
    }
    Actor {
        id,
        name,
        kind: match user.account_type.as_deref() {
            Some("app") => ActorKind::App,
            Some("atlassian" | "customer") | None => ActorKind::User,
            Some(_) => ActorKind::Unknown,
        },
    }
}
