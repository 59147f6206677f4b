//! Comments and worklogs.

use chrono::{DateTime, Utc};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Fact, NormalizeContext, actor, project_of};
use crate::connectors::jira::wire::{
    Comment, Issue, Payload, Timestamp, WireError, Worklog, issue_id_from_url, read, to_plain_text,
};
use crate::model::{SignalDraft, SignalKind, Subject};

/// Change of a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommentChange {
    Created,
    Edited,
    Deleted,
}

/// Normalizes a delivery about a comment.
pub(super) fn comment_event(
    context: &NormalizeContext<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
    change: CommentChange,
) -> Result<SignalDraft, WireError> {
    let raw = payload.comment.ok_or(WireError::Missing("comment"))?;
    let comment: Comment = read("comment", raw)?;
    let issue: Issue = match payload.issue {
        Some(issue) => read("issue", issue)?,
        // Some deliveries omit the issue; the comment's URL contains its id.
        None => context.known_issue(issue_id_from_url(comment.url.as_deref())),
    };
    match change {
        CommentChange::Created => issue_commented(context, &issue, &comment, raw, at),
        CommentChange::Edited => comment_edited(context, &issue, &comment, raw),
        CommentChange::Deleted => {
            let id = require_id(&comment)?;
            let mut subject = subject(context, &issue, id);
            subject.url = None;
            Ok(context.signal(Fact {
                kind: SignalKind::CommentDeleted,
                key: format!("comment:{id}:deleted"),
                at,
                // The person may differ from both authors of the comment.
                actor: actor(payload.user.as_ref()),
                subject,
                context: project_of(&issue),
                normalized: json!({ "key": issue.key, "comment_id": id }),
                raw,
            }))
        }
    }
}

/// Normalizes a comment to `issue_commented`.
pub(in super::super) fn issue_commented(
    context: &NormalizeContext<'_>,
    issue: &Issue,
    comment: &Comment,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let id = require_id(comment)?;
    Ok(context.signal(Fact {
        kind: SignalKind::IssueCommented,
        key: format!("comment:{id}:created"),
        at: comment.created.map_or(at, |timestamp| timestamp.0),
        actor: actor(comment.author.as_ref()),
        subject: subject(context, issue, id),
        context: project_of(issue),
        normalized: json!({
            "key": issue.key, "comment_id": id, "body": to_plain_text(&comment.body),
        }),
        raw,
    }))
}

/// Normalizes a comment to `comment_edited`; the time of the edit is part of its key.
pub(in super::super) fn comment_edited(
    context: &NormalizeContext<'_>,
    issue: &Issue,
    comment: &Comment,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let id = require_id(comment)?;
    let updated: Timestamp = comment
        .updated
        .ok_or(WireError::Missing("comment.updated"))?;
    Ok(context.signal(Fact {
        kind: SignalKind::CommentEdited,
        key: format!("comment:{id}:edited:{updated}"),
        at: updated.0,
        actor: actor(comment.update_author.as_ref().or(comment.author.as_ref())),
        subject: subject(context, issue, id),
        context: project_of(issue),
        normalized: json!({
            "key": issue.key, "comment_id": id, "body": to_plain_text(&comment.body),
        }),
        raw,
    }))
}

fn require_id(comment: &Comment) -> Result<&str, WireError> {
    comment
        .id
        .as_deref()
        .ok_or(WireError::Missing("comment.id"))
}

fn subject(context: &NormalizeContext<'_>, issue: &Issue, id: &str) -> Subject {
    let fields = issue.fields.as_ref();
    let url = issue.key.as_ref().and_then(|key| {
        let mut url = context.link(&["browse", key])?;
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

/// Normalizes a `worklog_created` delivery.
pub(super) fn worklog_event(
    context: &NormalizeContext<'_>,
    payload: &Payload<'_>,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let raw = payload.worklog.ok_or(WireError::Missing("worklog"))?;
    work_logged(context, &read("worklog", raw)?, raw, at)
}

/// Normalizes a worklog to `work_logged`, with its issue's details from the directory.
pub(in super::super) fn work_logged(
    context: &NormalizeContext<'_>,
    worklog: &Worklog,
    raw: &RawValue,
    at: DateTime<Utc>,
) -> Result<SignalDraft, WireError> {
    let id = worklog.id.clone().ok_or(WireError::Missing("worklog.id"))?;
    let issue_id = worklog
        .issue_id
        .clone()
        .or_else(|| issue_id_from_url(worklog.url.as_deref()));
    let issue = context.known_issue(issue_id.clone());
    let key = issue.key.clone();
    let title = issue
        .fields
        .as_ref()
        .and_then(|fields| fields.summary.clone());
    Ok(context.signal(Fact {
        kind: SignalKind::WorkLogged,
        key: format!("worklog:{id}:created"),
        at: worklog
            .created
            .or(worklog.started)
            .map_or(at, |timestamp| timestamp.0),
        actor: actor(worklog.author.as_ref()),
        subject: Subject {
            kind: "worklog".to_owned(),
            url: key
                .as_ref()
                .and_then(|key| context.link(&["browse", key]))
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
