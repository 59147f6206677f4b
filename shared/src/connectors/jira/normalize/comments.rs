//! Comments and worklogs.

use chrono::{DateTime, Utc};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Fact, Scene, actor, project_of};
use crate::connectors::jira::wire::{
    Comment, Issue, Moment, Payload, WireError, Worklog, issue_id_of, plain, read,
};
use crate::signals::{Actor, SignalDraft, SignalKind, Subject};

/// What happened to a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Created,
    Edited,
    Deleted,
}

/// The Signal of a delivery about a comment.
pub(super) fn event(
    scene: &Scene<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
    what: What,
) -> Result<SignalDraft, WireError> {
    let raw = payload.comment.ok_or(WireError::Missing("comment"))?;
    let comment: Comment = read("comment", raw)?;
    let issue: Issue = match payload.issue {
        Some(issue) => read("issue", issue)?,
        // Some deliveries do not tell of which issue; the comment's address does.
        None => scene.known_issue(issue_id_of(comment.url.as_deref())),
    };
    match what {
        What::Created => commented(scene, &issue, &comment, raw, at),
        What::Edited => edited(scene, &issue, &comment, raw),
        What::Deleted => {
            let id = need(&comment)?;
            let mut subject = subject(scene, &issue, id);
            subject.url = None;
            Ok(scene.signal(Fact {
                kind: SignalKind::CommentDeleted,
                key: format!("comment:{id}:deleted"),
                at,
                // Who deleted it is not told, and neither author needs to have.
                actor: actor(payload.user.as_ref()),
                subject,
                context: project_of(&issue),
                normalized: json!({ "key": issue.key, "comment_id": id }),
                raw,
            }))
        }
    }
}

/// Somebody commented on an issue.
pub(in super::super) fn commented(
    scene: &Scene<'_>,
    issue: &Issue,
    comment: &Comment,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let id = need(comment)?;
    Ok(scene.signal(Fact {
        kind: SignalKind::IssueCommented,
        key: format!("comment:{id}:created"),
        at: comment.created.map_or(at, |moment| moment.0),
        actor: actor(comment.author.as_ref()),
        subject: subject(scene, issue, id),
        context: project_of(issue),
        normalized: json!({
            "key": issue.key, "comment_id": id, "body": plain(&comment.body),
        }),
        raw,
    }))
}

/// A comment was edited; when is what tells one edit from another.
pub(in super::super) fn edited(
    scene: &Scene<'_>,
    issue: &Issue,
    comment: &Comment,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let id = need(comment)?;
    let updated: Moment = comment
        .updated
        .ok_or(WireError::Missing("comment.updated"))?;
    Ok(scene.signal(Fact {
        kind: SignalKind::CommentEdited,
        key: format!("comment:{id}:edited:{updated}"),
        at: updated.0,
        actor: actor(comment.update_author.as_ref().or(comment.author.as_ref())),
        subject: subject(scene, issue, id),
        context: project_of(issue),
        normalized: json!({
            "key": issue.key, "comment_id": id, "body": plain(&comment.body),
        }),
        raw,
    }))
}

fn need(comment: &Comment) -> Result<&str, WireError> {
    comment
        .id
        .as_deref()
        .ok_or(WireError::Missing("comment.id"))
}

fn subject(scene: &Scene<'_>, issue: &Issue, id: &str) -> Subject {
    let fields = issue.fields.as_ref();
    let url = issue.key.as_ref().and_then(|key| {
        let mut url = scene.link(&["browse", key])?;
        url.query_pairs_mut().append_pair("focusedCommentId", id);
        Some(url.into())
    });
    Subject {
        kind: "comment".to_owned(),
        id: id.to_owned(),
        key: issue.key.clone(),
        title: fields.and_then(|fields| fields.summary.clone()),
        url,
    }
}

/// The Signal of a `worklog_created` delivery.
pub(super) fn worklog_event(
    scene: &Scene<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let raw = payload.worklog.ok_or(WireError::Missing("worklog"))?;
    worked(scene, &read("worklog", raw)?, raw, at)
}

/// Somebody logged work. A worklog names its issue by number; the directory knows the rest.
pub(in super::super) fn worked(
    scene: &Scene<'_>,
    worklog: &Worklog,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let id = worklog.id.clone().ok_or(WireError::Missing("worklog.id"))?;
    let issue_id = worklog
        .issue_id
        .clone()
        .or_else(|| issue_id_of(worklog.url.as_deref()));
    let issue = scene.known_issue(issue_id.clone());
    let key = issue.key.clone();
    let title = issue
        .fields
        .as_ref()
        .and_then(|fields| fields.summary.clone());
    let by: Actor = actor(worklog.author.as_ref());
    Ok(scene.signal(Fact {
        kind: SignalKind::WorkLogged,
        key: format!("worklog:{id}:created"),
        at: worklog
            .created
            .or(worklog.started)
            .map_or(at, |moment| moment.0),
        actor: by,
        subject: Subject {
            kind: "worklog".to_owned(),
            url: key
                .as_ref()
                .and_then(|key| scene.link(&["browse", key]))
                .map(Into::into),
            key: key.clone(),
            title,
            id: id.clone(),
        },
        context: project_of(&issue),
        normalized: json!({
            "key": key,
            "worklog_id": id,
            "issue_id": issue_id,
            "seconds": worklog.seconds,
        }),
        raw,
    }))
}
