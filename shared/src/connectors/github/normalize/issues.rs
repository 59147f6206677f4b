//! Issues.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::changes::{self, Change, ChangedObject, segment};
use super::{Envelope, Fact, FactTime, NormalizeContext, RepositoryRef, actor, require, user_json};
use crate::connectors::github::wire::{Issue, Label, Repository, Timestamp, User, WireError};
use crate::model::{SignalDraft, SignalKind, Subject};

/// The Signal of an `issues` delivery.
pub(super) fn event(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
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
    let repo = context.repo()?;
    let (issue, raw) = context.payload.object::<Issue>("issue")?;
    let signal = match kind {
        SignalKind::IssueCreated => created(&repo, &issue, raw, &context.envelope()?)?,
        SignalKind::IssueClosed => closed(&repo, &issue, raw, &context.envelope()?)?,
        _ => changed(kind, action, context, &repo, &issue, raw)?,
    };
    Ok(Some(signal))
}

/// The Signal of an opened issue.
pub(in super::super) fn created(
    repo: &RepositoryRef,
    issue: &Issue,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    Ok(repo.signal(Fact {
        kind: SignalKind::IssueCreated,
        key: format!("issue:{}:created", issue.id),
        at: envelope.time_or_receipt(issue.created_at, "issue.created_at")?,
        actor: actor(issue.user.as_ref().or(envelope.sender.as_ref())),
        subject: subject(repo, issue),
        normalized: json!({
            "number": issue.number,
            // The state at the time of the fact, not at the time of reading.
            "state": "open",
            "labels": labels(issue),
            "author_association": issue.author_association,
        }),
        raw,
    }))
}

/// Time at which a closed issue was closed.
pub(in super::super) fn closed_at(issue: &Issue) -> Option<Timestamp> {
    issue.closed_at.or(issue.updated_at)
}

/// The Signal of a closed issue.
pub(in super::super) fn closed(
    repo: &RepositoryRef,
    issue: &Issue,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let at = require(closed_at(issue), "issue.closed_at")?;
    Ok(repo.signal(Fact {
        kind: SignalKind::IssueClosed,
        key: format!("issue:{}:closed:{at}", issue.id),
        at: FactTime::from(at),
        actor: actor(envelope.sender.as_ref().or(issue.closed_by.as_ref())),
        subject: subject(repo, issue),
        normalized: json!({
            "number": issue.number,
            "state_reason": issue.state_reason,
            "labels": labels(issue),
        }),
        raw,
    }))
}

/// The Signal of a change that only deliveries contain.
fn changed(
    kind: SignalKind,
    action: &str,
    context: &NormalizeContext<'_, '_>,
    repo: &RepositoryRef,
    issue: &Issue,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let (id, number) = (issue.id, issue.number);
    let updated_at = || require(issue.updated_at, "issue.updated_at");
    let mut raw = raw;
    let (key, at, normalized) = match kind {
        // The payloads of these two have the issue before the change.
        SignalKind::IssueDeleted => (
            "deleted".to_owned(),
            context.receipt_time(),
            json!({ "number": number }),
        ),
        SignalKind::IssueTransferred => (
            "transferred".to_owned(),
            context.receipt_time(),
            json!({ "number": number, "to": destination(context)? }),
        ),
        SignalKind::IssueReopened => {
            let at = updated_at()?;
            let normalized = json!({ "number": number });
            (format!("reopened:{at}"), FactTime::from(at), normalized)
        }
        SignalKind::IssueAssigned | SignalKind::IssueUnassigned => {
            let at = updated_at()?;
            let assignee: Option<User> = context.payload.optional("assignee")?;
            let part = segment(assignee.as_ref().and_then(|user| user.id));
            (
                format!("{action}:{part}{at}"),
                FactTime::from(at),
                json!({ "number": number, "assignee": user_json(assignee.as_ref()) }),
            )
        }
        _ => {
            let Change {
                key,
                at,
                normalized,
            } = changes::read(
                action,
                context,
                &ChangedObject {
                    number,
                    title: issue.title.as_deref(),
                    body: issue.body.as_deref(),
                    updated_at: updated_at()?,
                },
            )?;
            // The payload has the change beside the issue.
            raw = context.payload.raw_whole()?;
            (key, at, normalized)
        }
    };
    Ok(repo.signal(Fact {
        kind,
        key: format!("issue:{id}:{key}"),
        at,
        actor: context.actor()?,
        subject: subject(repo, issue),
        normalized,
        raw,
    }))
}

/// The destination of a transferred issue, if the delivery contains it.
fn destination(context: &NormalizeContext<'_, '_>) -> Result<Option<Value>, WireError> {
    #[derive(serde::Deserialize)]
    struct Changes {
        new_issue: Option<Issue>,
        new_repository: Option<Repository>,
    }
    let Some(changes) = context.payload.optional::<Changes>("changes")? else {
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

fn subject(repo: &RepositoryRef, issue: &Issue) -> Subject {
    Subject {
        kind: "issue".to_owned(),
        id: issue.id.to_string(),
        key: repo.numbered(issue.number),
        title: issue.title.clone(),
        url: issue.html_url.clone(),
    }
}
