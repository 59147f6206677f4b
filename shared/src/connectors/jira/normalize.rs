//! Normalization of Jira's objects to Signals.
//!
//! Webhooks and polling share these pure functions, so a fact has the same dedupe key on both
//! paths. The Signal catalogue documents events, kinds and keys. One change of an issue has one
//! changelog id and may yield several Signals.

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
pub(super) use comments::{comment_edited, issue_commented, work_logged};
pub(super) use issues::{issue_changed, issue_created};

use comments::CommentChange;

use super::wire::{Fields, Issue, Payload, Project, User, WireError};
use crate::connectors::Directory;
use crate::connectors::wire::plausible;
use crate::model::{
    Actor, ActorKind, Context, ContextKind, DirectoryKind, ExternalAccount, SignalDraft,
    SignalKind, Subject, TimestampSource, mark_received,
};

/// Kinds of Signals that this connector emits.
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

/// Account and directory, which turn Jira's objects into Signals.
pub(super) struct NormalizeContext<'a> {
    /// The site.
    pub(super) account: &'a ExternalAccount,
    /// Its statuses, and the issues that deliveries reference by id only.
    pub(super) directory: &'a Directory,
}

/// The parts of a Signal that do not depend on the site.
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

/// Normalizes a delivery; no Signals if the catalogue has no kind for it.
pub(super) fn from_event(
    context: &NormalizeContext<'_>,
    payload: &Payload<'_>,
    received_at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    let sent = payload
        .timestamp
        .and_then(DateTime::from_timestamp_millis)
        .and_then(plausible);
    let mut facts = from_event_at(context, payload, sent.unwrap_or(received_at))?;
    if sent.is_none() {
        mark_received(&mut facts, received_at);
    }
    Ok(facts)
}

/// Normalizes a delivery with the time `at`.
fn from_event_at(
    context: &NormalizeContext<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    let one = |signal: SignalDraft| Ok(vec![signal]);
    match payload.event.as_deref().unwrap_or_default() {
        "jira:issue_created" => one(issues::created_event(context, payload, at)?),
        "jira:issue_updated" => issues::updated_event(context, payload, at),
        "jira:issue_deleted" => one(issues::deleted_event(context, payload, at)?),
        "comment_created" => one(comments::comment_event(
            context,
            payload,
            at,
            CommentChange::Created,
        )?),
        "comment_updated" => one(comments::comment_event(
            context,
            payload,
            at,
            CommentChange::Edited,
        )?),
        "comment_deleted" => one(comments::comment_event(
            context,
            payload,
            at,
            CommentChange::Deleted,
        )?),
        "worklog_created" => one(comments::worklog_event(context, payload, at)?),
        "sprint_created" => one(agile::sprint_event(context, payload, at, sprint_created)?),
        "sprint_started" => one(agile::sprint_event(context, payload, at, sprint_started)?),
        "sprint_closed" => one(agile::sprint_event(context, payload, at, sprint_closed)?),
        "jira:version_created" => one(agile::version_event(context, payload, at, version_created)?),
        "jira:version_released" => one(agile::version_event(
            context,
            payload,
            at,
            version_released,
        )?),
        _ => Ok(Vec::new()),
    }
}

impl NormalizeContext<'_> {
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

    /// Whether a status has the category `done`; `None` if its category is unknown.
    ///
    /// The payload's category takes precedence over the directory's.
    fn is_done(&self, status: Option<&str>, issue: &Issue) -> Option<bool> {
        let status = status?;
        let current = issue
            .fields
            .as_ref()
            .and_then(|fields| fields.status.as_ref());
        let category = current
            .filter(|current| current.id.as_deref() == Some(status))
            .and_then(|current| current.category.as_ref()?.key.clone());
        if let Some(category) = category {
            return Some(category == "done");
        }
        let entry = self.directory.get(DirectoryKind::Status, status)?;
        Some(entry.detail["category"].as_str()? == "done")
    }

    /// An issue that a delivery references by id, with the details that the directory has.
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

/// The context of an issue's project. Partial issues have the project's key only, and no id.
fn project_of(issue: &Issue) -> Context {
    let project = issue
        .fields
        .as_ref()
        .and_then(|fields| fields.project.as_ref());
    let key = issue
        .key
        .as_ref()
        .and_then(|key| Some(key.rsplit_once('-')?.0.to_owned()));
    project_context(project, key)
}

fn project_context(project: Option<&Project>, key: Option<String>) -> Context {
    let key = project.and_then(|project| project.key.clone()).or(key);
    Context {
        kind: ContextKind::Project,
        id: project
            .and_then(|project| project.id.clone())
            .unwrap_or_default(),
        name: project.and_then(|project| project.name.clone()).or(key),
    }
}

/// The actor of a user or an app; an erased account has no name, and others may have no id.
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
