//! Issues: created, changed, deleted.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Fact, Scene, actor, project_of};
use crate::connectors::jira::wire::{Changelog, Issue, Item, Payload, WireError, read};
use crate::signals::{Actor, SignalDraft, SignalKind};

/// The Signal of a `jira:issue_created` delivery.
pub(super) fn created_event(
    scene: &Scene<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let raw = payload.issue.ok_or(WireError::Missing("issue"))?;
    created(
        scene,
        &read("issue", raw)?,
        raw,
        payload.user.as_ref().map(|user| actor(Some(user))),
        at,
    )
}

/// An issue was created. `by` is whom the delivery names, `at` when it does not say when.
pub(in super::super) fn created(
    scene: &Scene<'_>,
    issue: &Issue,
    raw: &RawValue,
    by: Option<Actor>,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let subject = scene.issue_subject(issue)?;
    let fields = issue.fields.as_ref();
    let creator = fields.and_then(|fields| fields.creator.as_ref().or(fields.reporter.as_ref()));
    Ok(scene.signal(Fact {
        kind: SignalKind::IssueCreated,
        key: format!("issue:{}:created", subject.id),
        at: fields
            .and_then(|fields| fields.created)
            .map_or(at, |moment| moment.0),
        actor: creator
            .map(|creator| actor(Some(creator)))
            .filter(|creator| creator.id.is_some() || creator.name.is_some())
            .or(by)
            .unwrap_or_else(Actor::unknown),
        normalized: json!({
            "key": issue.key,
            "issue_type": fields.and_then(|fields| fields.issuetype.as_ref()?.name.clone()),
            "state": fields.and_then(|fields| fields.status.as_ref()?.name.clone()),
        }),
        subject,
        context: project_of(issue),
        raw,
    }))
}

/// The Signals of a `jira:issue_updated` delivery.
pub(super) fn updated_event(
    scene: &Scene<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    // One that only announces a comment has no changelog: the comment has its own event.
    let Some(raw) = payload.changelog else {
        return Ok(Vec::new());
    };
    let issue: Issue = read("issue", payload.issue.ok_or(WireError::Missing("issue"))?)?;
    let mut change: Changelog = read("changelog", raw)?;
    if change.author.is_none() {
        change.author.clone_from(&payload.user);
    }
    changed(scene, &issue, &change, raw, at)
}

/// An issue was changed: a Signal for the status, one for the assignee, one for the rest.
/// `at` stands in for a change that does not say when.
pub(in super::super) fn changed(
    scene: &Scene<'_>,
    issue: &Issue,
    change: &Changelog,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    if change.items.is_empty() {
        return Ok(Vec::new());
    }
    let history = change
        .id
        .as_ref()
        .ok_or(WireError::Missing("changelog.id"))?;
    let subject = scene.issue_subject(issue)?;
    let signal = |kind, part: &str, normalized: Value| {
        scene.signal(Fact {
            kind,
            key: format!("issue:{}:history:{history}:{part}", subject.id),
            at: change.created.map_or(at, |moment| moment.0),
            actor: actor(change.author.as_ref()),
            subject: subject.clone(),
            context: project_of(issue),
            normalized,
            raw,
        })
    };
    let mut signals = Vec::new();
    if let Some(item) = change_of("status", change) {
        let normalized = json!({
            "key": issue.key,
            "from": item.from_string,
            "to": item.to_string,
            "from_id": item.from,
            "to_id": item.to,
        });
        signals.push(signal(
            status_kind(scene, issue, &item),
            "status",
            normalized,
        ));
    }
    if let Some(item) = change_of("assignee", change) {
        let (kind, id, name) = if item.to.is_some() {
            (SignalKind::IssueAssigned, item.to, item.to_string)
        } else {
            (SignalKind::IssueUnassigned, item.from, item.from_string)
        };
        let normalized = json!({
            "key": issue.key,
            "assignee": { "id": id, "name": name },
        });
        signals.push(signal(kind, "assignee", normalized));
    }
    let others: Vec<&Item> = change
        .items
        .iter()
        .filter(|item| !item.is_of("status") && !item.is_of("assignee"))
        .collect();
    if !others.is_empty() {
        let fields: Vec<Value> = others
            .iter()
            .map(|item| {
                // The name is what people see; it changes, and differs between languages.
                json!({
                    "field": item.field_id.as_ref().or(item.field.as_ref()),
                    "name": item.field,
                    "from": item.from_string.as_ref().or(item.from.as_ref()),
                    "to": item.to_string.as_ref().or(item.to.as_ref()),
                })
            })
            .collect();
        let normalized = json!({ "key": issue.key, "fields": fields });
        signals.push(signal(SignalKind::IssueUpdated, "fields", normalized));
    }
    Ok(signals)
}

/// What a change did to one field; it may tell that in several steps.
fn change_of(field: &str, change: &Changelog) -> Option<Item> {
    let mut steps = change.items.iter().filter(|item| item.is_of(field));
    let first = steps.next()?.clone();
    let last = steps.next_back().cloned().unwrap_or_else(|| first.clone());
    Some(Item {
        from: first.from,
        from_string: first.from_string,
        ..last
    })
}

/// What a change of status means. Items name statuses by id, not by what they mean.
fn status_kind(scene: &Scene<'_>, issue: &Issue, item: &Item) -> SignalKind {
    // Both are asked for, so that what is missing is looked up at once.
    let (from, to) = (
        scene.is_done(item.from.as_deref(), issue),
        scene.is_done(item.to.as_deref(), issue),
    );
    match (from, to) {
        (Some(false), Some(true)) => SignalKind::IssueClosed,
        (Some(true), Some(false)) => SignalKind::IssueReopened,
        _ => SignalKind::IssueStatusChanged,
    }
}

/// The Signal of a `jira:issue_deleted` delivery.
pub(super) fn deleted_event(
    scene: &Scene<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let raw = payload.issue.ok_or(WireError::Missing("issue"))?;
    let issue: Issue = read("issue", raw)?;
    let mut subject = scene.issue_subject(&issue)?;
    subject.url = None;
    Ok(scene.signal(Fact {
        kind: SignalKind::IssueDeleted,
        key: format!("issue:{}:deleted", subject.id),
        at,
        actor: actor(payload.user.as_ref()),
        subject,
        context: project_of(&issue),
        normalized: json!({ "key": issue.key }),
        raw,
    }))
}
