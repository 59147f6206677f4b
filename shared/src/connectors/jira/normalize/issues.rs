//! Issues: created, changed, deleted.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Fact, NormalizeContext, actor, project_of};
use crate::connectors::jira::wire::{Changelog, Issue, Item, Payload, WireError, read};
use crate::model::{Actor, SignalDraft, SignalKind};

/// Normalizes a `jira:issue_created` delivery.
pub(super) fn created_event(
    context: &NormalizeContext<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let raw = payload.issue.ok_or(WireError::Missing("issue"))?;
    issue_created(
        context,
        &read("issue", raw)?,
        raw,
        payload.user.as_ref().map(|user| actor(Some(user))),
        at,
    )
}

/// Normalizes an issue to `issue_created`.
///
/// `by` and `at` are fallbacks for the creator and the creation time.
pub(in super::super) fn issue_created(
    context: &NormalizeContext<'_>,
    issue: &Issue,
    raw: &RawValue,
    by: Option<Actor>,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let subject = context.issue_subject(issue)?;
    let fields = issue.fields.as_ref();
    let creator = fields.and_then(|fields| fields.creator.as_ref().or(fields.reporter.as_ref()));
    Ok(context.signal(Fact {
        kind: SignalKind::IssueCreated,
        key: format!("issue:{}:created", subject.id),
        at: fields
            .and_then(|fields| fields.created)
            .map_or(at, |timestamp| timestamp.0),
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

/// Normalizes a `jira:issue_updated` delivery.
pub(super) fn updated_event(
    context: &NormalizeContext<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    // A new comment also triggers this event, without a changelog; the comment has its own event.
    let Some(raw) = payload.changelog else {
        return Ok(Vec::new());
    };
    let issue: Issue = read("issue", payload.issue.ok_or(WireError::Missing("issue"))?)?;
    let mut change: Changelog = read("changelog", raw)?;
    if change.author.is_none() {
        change.author.clone_from(&payload.user);
    }
    issue_changed(context, &issue, &change, raw, at)
}

/// Normalizes a change to up to three Signals: status, assignee, and all other fields.
///
/// `at` is the fallback for the time of the change.
pub(in super::super) fn issue_changed(
    context: &NormalizeContext<'_>,
    issue: &Issue,
    change: &Changelog,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<Vec<SignalDraft>, WireError> {
    if change.items.is_empty() {
        return Ok(Vec::new());
    }
    let changelog_id = change
        .id
        .as_ref()
        .ok_or(WireError::Missing("changelog.id"))?;
    let subject = context.issue_subject(issue)?;
    let signal = |kind, part: &str, normalized: Value| {
        context.signal(Fact {
            kind,
            key: format!("issue:{}:history:{changelog_id}:{part}", subject.id),
            at: change.created.map_or(at, |timestamp| timestamp.0),
            actor: actor(change.author.as_ref()),
            subject: subject.clone(),
            context: project_of(issue),
            normalized,
            raw,
        })
    };
    let mut signals = Vec::new();
    if let Some(item) = net_change("status", change) {
        let normalized = json!({
            "key": issue.key,
            "from": item.from_string,
            "to": item.to_string,
            "from_id": item.from,
            "to_id": item.to,
        });
        signals.push(signal(
            status_kind(context, issue, &item),
            "status",
            normalized,
        ));
    }
    if let Some(item) = net_change("assignee", change) {
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
                // The displayed name may change and depends on the language.
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

/// The net change of a field, which a changelog may contain in several steps.
fn net_change(field: &str, change: &Changelog) -> Option<Item> {
    let mut steps = change.items.iter().filter(|item| item.is_of(field));
    let first = steps.next()?.clone();
    let last = steps.next_back().cloned().unwrap_or_else(|| first.clone());
    Some(Item {
        from: first.from,
        from_string: first.from_string,
        ..last
    })
}

/// The kind of a status change, by the categories of both statuses.
fn status_kind(context: &NormalizeContext<'_>, issue: &Issue, item: &Item) -> SignalKind {
    // Both are read unconditionally, so that one lookup fetches all missing statuses.
    let (from, to) = (
        context.is_done(item.from.as_deref(), issue),
        context.is_done(item.to.as_deref(), issue),
    );
    match (from, to) {
        (Some(false), Some(true)) => SignalKind::IssueClosed,
        (Some(true), Some(false)) => SignalKind::IssueReopened,
        _ => SignalKind::IssueStatusChanged,
    }
}

/// Normalizes a `jira:issue_deleted` delivery.
pub(super) fn deleted_event(
    context: &NormalizeContext<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let raw = payload.issue.ok_or(WireError::Missing("issue"))?;
    let issue: Issue = read("issue", raw)?;
    let mut subject = context.issue_subject(&issue)?;
    subject.url = None;
    Ok(context.signal(Fact {
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
