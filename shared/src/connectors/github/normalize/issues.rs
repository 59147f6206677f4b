//! Issues.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Fact, Place, Scene, actor, key_id, need, person};
use crate::connectors::github::wire::{
    Issue, Label, Milestone, Moment, Repository, User, WireError,
};
use crate::signals::{Actor, SignalDraft, SignalKind, Subject};

/// The Signal of an `issues` delivery.
pub(super) fn event(action: &str, scene: &Scene<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    let kind = match action {
        "opened" => SignalKind::IssueCreated,
        "closed" => SignalKind::IssueClosed,
        "reopened" => SignalKind::IssueReopened,
        "deleted" => SignalKind::IssueDeleted,
        "assigned" => SignalKind::IssueAssigned,
        "unassigned" => SignalKind::IssueUnassigned,
        "transferred" => SignalKind::IssueTransferred,
        "edited" | "labeled" | "unlabeled" | "milestoned" | "demilestoned" | "pinned"
        | "unpinned" | "locked" | "unlocked" | "typed" | "untyped" => SignalKind::IssueUpdated,
        _ => return Ok(None),
    };
    let place = scene.place()?;
    let (issue, raw) = scene.payload.object::<Issue>("issue")?;
    let sender = scene.sender()?;
    let signal = match kind {
        SignalKind::IssueCreated => created(&place, &issue, raw, sender.as_ref())?,
        SignalKind::IssueClosed => closed(&place, &issue, raw, sender.as_ref())?,
        _ => changed(kind, action, scene, &place, &issue, raw)?,
    };
    Ok(Some(signal))
}

/// An issue was opened. `by` is whom to name when the issue names no author.
pub(in super::super) fn created(
    place: &Place,
    issue: &Issue,
    raw: &RawValue,
    by: Option<&User>,
) -> Result<SignalDraft, WireError> {
    Ok(place.signal(Fact {
        kind: SignalKind::IssueCreated,
        key: format!("issue:{}:created", issue.id),
        at: need(issue.created_at, "issue.created_at")?.0,
        actor: actor(issue.user.as_ref().or(by)),
        subject: subject(place, issue),
        normalized: json!({
            "number": issue.number,
            // What it was when it was opened, whenever we come to read it.
            "state": "open",
            "labels": labels(issue),
            "author_association": issue.author_association,
        }),
        raw,
    }))
}

/// When an issue that is closed was closed.
pub(in super::super) fn closed_at(issue: &Issue) -> Option<Moment> {
    issue.closed_at.or(issue.updated_at)
}

/// An issue was closed. `by` is whom to name when the issue does not say who closed it.
pub(in super::super) fn closed(
    place: &Place,
    issue: &Issue,
    raw: &RawValue,
    by: Option<&User>,
) -> Result<SignalDraft, WireError> {
    let at = need(closed_at(issue), "issue.closed_at")?;
    Ok(place.signal(Fact {
        kind: SignalKind::IssueClosed,
        key: format!("issue:{}:closed:{at}", issue.id),
        at: at.0,
        actor: actor(by.or(issue.closed_by.as_ref())),
        subject: subject(place, issue),
        normalized: json!({
            "number": issue.number,
            "state_reason": issue.state_reason,
            "labels": labels(issue),
        }),
        raw,
    }))
}

/// What only deliveries tell.
fn changed(
    kind: SignalKind,
    action: &str,
    scene: &Scene<'_, '_>,
    place: &Place,
    issue: &Issue,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let id = issue.id;
    let by = scene.actor()?;
    let subject = subject(place, issue);
    let number = issue.number;
    let signal = |key: String, at, actor: Actor, normalized: Value| {
        place.signal(Fact {
            kind,
            key,
            at,
            actor,
            subject,
            normalized,
            raw,
        })
    };
    // After these two GitHub shows the issue as it was before.
    if kind == SignalKind::IssueDeleted {
        let key = format!("issue:{id}:deleted");
        return Ok(signal(
            key,
            scene.received_at,
            by,
            json!({ "number": number }),
        ));
    }
    if kind == SignalKind::IssueTransferred {
        let normalized = json!({ "number": number, "to": destination(scene)? });
        return Ok(signal(
            format!("issue:{id}:transferred"),
            scene.received_at,
            by,
            normalized,
        ));
    }
    let at = need(issue.updated_at, "issue.updated_at")?;
    let (key, normalized) = match kind {
        SignalKind::IssueReopened => (
            format!("issue:{id}:reopened:{at}"),
            json!({ "number": number }),
        ),
        SignalKind::IssueAssigned | SignalKind::IssueUnassigned => {
            let assignee: Option<User> = scene.payload.optional("assignee")?;
            (
                format!("issue:{id}:{action}:{}:{at}", key_id(assignee.as_ref())),
                json!({ "number": number, "assignee": person(assignee.as_ref()) }),
            )
        }
        _ => updated(action, scene, issue, at)?,
    };
    Ok(signal(key, at.0, by, normalized))
}

/// Key and fields of an `issue_updated`: two labels that were added at once are two facts.
fn updated(
    action: &str,
    scene: &Scene<'_, '_>,
    issue: &Issue,
    at: Moment,
) -> Result<(String, Value), WireError> {
    let mut key = format!("issue:{}:{action}:{at}", issue.id);
    let label: Option<Label> = match action {
        "labeled" | "unlabeled" => scene.payload.optional("label")?,
        _ => None,
    };
    let milestone: Option<Milestone> = match action {
        "milestoned" | "demilestoned" => scene.payload.optional("milestone")?,
        _ => None,
    };
    let part = label
        .as_ref()
        .and_then(Label::id)
        .or(milestone.as_ref().map(|found| found.id));
    if let Some(part) = part {
        key = format!("{key}:{part}");
    }
    let normalized = json!({
        "number": issue.number,
        "change": action,
        "label": label.as_ref().and_then(Label::name),
        "milestone": milestone.as_ref().and_then(|found| found.title.as_ref()),
    });
    Ok((key, normalized))
}

/// Where a transferred issue went, as far as the delivery says.
fn destination(scene: &Scene<'_, '_>) -> Result<Option<Value>, WireError> {
    #[derive(serde::Deserialize)]
    struct Changes {
        new_issue: Option<Issue>,
        new_repository: Option<Repository>,
    }
    let Some(changes) = scene.payload.optional::<Changes>("changes")? else {
        return Ok(None);
    };
    if changes.new_issue.is_none() && changes.new_repository.is_none() {
        return Ok(None);
    }
    Ok(Some(json!({
        "repository": changes.new_repository.as_ref().and_then(Repository::full_name),
        "number": changes.new_issue.as_ref().map(|issue| issue.number),
        "url": changes.new_issue.as_ref().and_then(|issue| issue.html_url.as_ref()),
    })))
}

fn labels(issue: &Issue) -> Vec<&str> {
    issue
        .labels
        .iter()
        .flatten()
        .filter_map(Label::name)
        .collect()
}

fn subject(place: &Place, issue: &Issue) -> Subject {
    Subject {
        kind: "issue".to_owned(),
        id: issue.id.to_string(),
        key: place.numbered(issue.number),
        title: issue.title.clone(),
        url: issue.html_url.clone(),
    }
}
