//! Comments on issues, pull requests, diffs, discussions and commits.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Envelope, Fact, Place, Scene, When, actor, digest, need};
use crate::connectors::github::wire::{
    Comment, CommitComment, Discussion, Issue, PullRequest, WireError,
};
use crate::signals::{SignalDraft, SignalKind, Subject};

/// What a comment is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum On {
    /// An issue.
    Issue,
    /// A pull request's conversation.
    PullRequest,
    /// A pull request's diff.
    Diff,
    /// A discussion.
    Discussion,
}

impl On {
    /// Comments of these families have ids of their own each.
    const fn family(self) -> &'static str {
        match self {
            Self::Issue | Self::PullRequest => "comment",
            Self::Diff => "review_comment",
            Self::Discussion => "discussion_comment",
        }
    }
}

/// The thread that a comment belongs to.
pub(in super::super) struct Thread {
    /// What it is.
    pub on: On,
    /// Its number in the repository.
    pub number: Option<u64>,
    /// Its title, where it is known.
    pub title: Option<String>,
}

/// The Signal of an `issue_comment` delivery.
pub(super) fn issue_comment(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    of_thread(action, scene, || {
        let issue: Issue = scene.payload.required("issue")?;
        let on = if issue.pull_request.is_some() {
            On::PullRequest
        } else {
            On::Issue
        };
        Ok(Thread {
            on,
            number: Some(issue.number),
            title: issue.title,
        })
    })
}

/// The Signal of a `pull_request_review_comment` delivery.
pub(super) fn review_comment(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    of_thread(action, scene, || {
        let pull: PullRequest = scene.payload.required("pull_request")?;
        Ok(Thread {
            on: On::Diff,
            number: Some(pull.number),
            title: pull.title,
        })
    })
}

/// The Signal of a `discussion_comment` delivery.
pub(super) fn discussion_comment(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    of_thread(action, scene, || {
        let discussion: Discussion = scene.payload.required("discussion")?;
        let number = Some(discussion.number);
        Ok(Thread {
            on: On::Discussion,
            number,
            title: discussion.title,
        })
    })
}

fn of_thread(
    action: &str,
    scene: &Scene<'_, '_>,
    thread: impl FnOnce() -> Result<Thread, WireError>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "created" | "edited" | "deleted") {
        return Ok(None);
    }
    let place = scene.place()?;
    let (comment, raw) = scene.payload.object::<Comment>("comment")?;
    let thread = thread()?;
    if action == "created" {
        return created(&place, &comment, raw, &thread, &scene.envelope()?).map(Some);
    }
    let (family, id) = (thread.on.family(), comment.id);
    let (kind, key, at, normalized) = if action == "edited" {
        let at = need(comment.updated_at, "comment.updated_at")?;
        let digest = digest(&[comment.body.as_deref().unwrap_or_default()]);
        (
            SignalKind::CommentEdited,
            format!("{family}:{id}:edited:{at}:{digest}"),
            When::from(at),
            json!({ "comment_id": id.to_string(), "body": comment.body }),
        )
    } else {
        (
            SignalKind::CommentDeleted,
            format!("{family}:{id}:deleted"),
            // The comment is shown as it was last written.
            scene.receipt(),
            json!({ "comment_id": id.to_string() }),
        )
    };
    Ok(Some(place.signal(Fact {
        kind,
        key,
        at,
        actor: scene.actor()?,
        subject: subject(&place, &comment, &thread),
        normalized,
        raw,
    })))
}

/// A comment was written.
pub(in super::super) fn created(
    place: &Place,
    comment: &Comment,
    raw: &RawValue,
    thread: &Thread,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let id = comment.id.to_string();
    let (number, body) = (thread.number, &comment.body);
    let (kind, normalized) = match thread.on {
        On::Issue => (
            SignalKind::IssueCommented,
            json!({ "number": number, "comment_id": id, "body": body }),
        ),
        On::PullRequest | On::Diff => (
            SignalKind::PrCommented,
            json!({ "number": number, "comment_id": id, "body": body, "path": comment.path }),
        ),
        On::Discussion => (
            SignalKind::DiscussionCommented,
            json!({ "number": number, "comment_id": id, "body": body }),
        ),
    };
    Ok(place.signal(Fact {
        kind,
        key: format!("{}:{id}:created", thread.on.family()),
        at: envelope.when(comment.created_at, "comment.created_at")?,
        actor: actor(comment.user.as_ref().or(envelope.sender.as_ref())),
        subject: subject(place, comment, thread),
        normalized,
        raw,
    }))
}

fn subject(place: &Place, comment: &Comment, thread: &Thread) -> Subject {
    Subject {
        kind: thread.on.family().to_owned(),
        id: comment.id.to_string(),
        key: thread.number.and_then(|number| place.numbered(number)),
        title: thread.title.clone(),
        url: comment.html_url.clone(),
    }
}

/// The Signal of a `commit_comment` delivery.
pub(super) fn commit_comment(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if action != "created" {
        return Ok(None);
    }
    let place = scene.place()?;
    let (comment, raw) = scene.payload.object::<CommitComment>("comment")?;
    let sender = scene.sender()?;
    let id = comment.id.to_string();
    Ok(Some(
        place.signal(Fact {
            kind: SignalKind::CommitCommented,
            key: format!("commit_comment:{id}:created"),
            at: scene.when(comment.created_at),
            actor: actor(comment.user.as_ref().or(sender.as_ref())),
            subject: Subject {
                kind: "commit_comment".to_owned(),
                id: id.clone(),
                key: comment
                    .commit_id
                    .as_ref()
                    .and_then(|commit| place.at(commit)),
                title: None,
                url: comment.html_url.clone(),
            },
            normalized: json!({
                "comment_id": id,
                "commit_id": comment.commit_id,
                "body": comment.body,
                "path": comment.path,
            }),
            raw,
        }),
    ))
}
