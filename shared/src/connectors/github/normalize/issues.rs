//! Issues.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::changes::{self, Change, Changed, segment};
use super::{Envelope, Fact, Place, Scene, When, actor, need, person};
use crate::connectors::github::wire::{Issue, Label, Moment, Repository, User, WireError};
use crate::signals::{SignalDraft, SignalKind, Subject};

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
    let signal = match kind {
        SignalKind::IssueCreated => created(&place, &issue, raw, &scene.envelope()?)?,
        SignalKind::IssueClosed => closed(&place, &issue, raw, &scene.envelope()?)?,
        _ => changed(kind, action, scene, &place, &issue, raw)?,
    };
    Ok(Some(signal))
}

/// An issue was opened.
pub(in super::super) fn created(
    place: &Place,
    issue: &Issue,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    Ok(place.signal(Fact {
        kind: SignalKind::IssueCreated,
        key: format!("issue:{}:created", issue.id),
        at: envelope.when(issue.created_at, "issue.created_at")?,
        actor: actor(issue.user.as_ref().or(envelope.sender.as_ref())),
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

/// An issue was closed.
pub(in super::super) fn closed(
    place: &Place,
    issue: &Issue,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let at = need(closed_at(issue), "issue.closed_at")?;
    Ok(place.signal(Fact {
        kind: SignalKind::IssueClosed,
        key: format!("issue:{}:closed:{at}", issue.id),
        at: When::from(at),
        actor: actor(envelope.sender.as_ref().or(issue.closed_by.as_ref())),
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
    let (id, number) = (issue.id, issue.number);
    let dated = || need(issue.updated_at, "issue.updated_at");
    let mut raw = raw;
    let (key, at, normalized) = match kind {
        // After these two GitHub shows the issue as it was before.
        SignalKind::IssueDeleted => (
            "deleted".to_owned(),
            scene.receipt(),
            json!({ "number": number }),
        ),
        SignalKind::IssueTransferred => (
            "transferred".to_owned(),
            scene.receipt(),
            json!({ "number": number, "to": destination(scene)? }),
        ),
        SignalKind::IssueReopened => {
            let at = dated()?;
            let normalized = json!({ "number": number });
            (format!("reopened:{at}"), When::from(at), normalized)
        }
        SignalKind::IssueAssigned | SignalKind::IssueUnassigned => {
            let at = dated()?;
            let assignee: Option<User> = scene.payload.optional("assignee")?;
            let part = segment(assignee.as_ref().and_then(|user| user.id));
            (
                format!("{action}:{part}{at}"),
                When::from(at),
                json!({ "number": number, "assignee": person(assignee.as_ref()) }),
            )
        }
        _ => {
            let Change {
                key,
                at,
                normalized,
            } = changes::read(
                action,
                scene,
                &Changed {
                    number,
                    title: issue.title.as_deref(),
                    body: issue.body.as_deref(),
                    updated_at: dated()?,
                },
            )?;
            // The change stands beside the issue.
            raw = scene.payload.raw_whole()?;
            (key, at, normalized)
        }
    };
    Ok(place.signal(Fact {
        kind,
        key: format!("issue:{id}:{key}"),
        at,
        actor: scene.actor()?,
        subject: subject(place, issue),
        normalized,
        raw,
    }))
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
    issue.labels.iter().filter_map(Label::name).collect()
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
