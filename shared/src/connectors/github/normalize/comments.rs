//! Comments on issues, pull requests, diffs, discussions and commits.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Envelope, Fact, FactTime, NormalizeContext, RepositoryRef, actor, digest, require};
use crate::connectors::github::wire::{
    Comment, CommitComment, Discussion, Issue, PullRequest, WireError,
};
use crate::model::{SignalDraft, SignalKind, Subject};

/// Kind of the thread that a comment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum ThreadKind {
    /// An issue.
    Issue,
    /// A pull request's conversation.
    PullRequest,
    /// A pull request's diff.
    Diff,
    /// A discussion.
    Discussion,
}

impl ThreadKind {
    /// Prefix of dedupe keys. Ids are unique only within the comments of one prefix.
    const fn key_prefix(self) -> &'static str {
        match self {
            Self::Issue | Self::PullRequest => "comment",
            Self::Diff => "review_comment",
            Self::Discussion => "discussion_comment",
        }
    }
}

/// The thread that a comment belongs to.
pub(in super::super) struct Thread {
    /// Kind.
    pub kind: ThreadKind,
    /// Number in the repository.
    pub number: Option<u64>,
    /// Title, if known.
    pub title: Option<String>,
}

/// The Signal of an `issue_comment` delivery.
pub(super) fn issue_comment(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    thread_comment(action, context, || {
        let issue: Issue = context.payload.required("issue")?;
        let kind = if issue.pull_request.is_some() {
            ThreadKind::PullRequest
        } else {
            ThreadKind::Issue
        };
        Ok(Thread {
            kind,
            number: issue.number,
            title: issue.title,
        })
    })
}

/// The Signal of a `pull_request_review_comment` delivery.
pub(super) fn review_comment(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    thread_comment(action, context, || {
        let pull: PullRequest = context.payload.required("pull_request")?;
        Ok(Thread {
            kind: ThreadKind::Diff,
            number: pull.number,
            title: pull.title,
        })
    })
}

/// The Signal of a `discussion_comment` delivery.
pub(super) fn discussion_comment(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    thread_comment(action, context, || {
        let discussion: Discussion = context.payload.required("discussion")?;
        let number = discussion.number;
        Ok(Thread {
            kind: ThreadKind::Discussion,
            number,
            title: discussion.title,
        })
    })
}

fn thread_comment(
    action: &str,
    context: &NormalizeContext<'_, '_>,
    thread: impl FnOnce() -> Result<Thread, WireError>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "created" | "edited" | "deleted") {
        return Ok(None);
    }
    let repo = context.repo()?;
    let (comment, raw) = context.payload.object::<Comment>("comment")?;
    let thread = thread()?;
    if action == "created" {
        return created(&repo, &comment, raw, &thread, &context.envelope()?).map(Some);
    }
    let (key_prefix, id) = (thread.kind.key_prefix(), comment.id);
    let (kind, key, at, normalized) = if action == "edited" {
        let at = require(comment.updated_at, "comment.updated_at")?;
        let digest = digest(&[comment.body.as_deref().unwrap_or_default()]);
        (
            SignalKind::CommentEdited,
            format!("{key_prefix}:{id}:edited:{at}:{digest}"),
            FactTime::from(at),
            json!({ "comment_id": id.to_string(), "body": comment.body }),
        )
    } else {
        (
            SignalKind::CommentDeleted,
            format!("{key_prefix}:{id}:deleted"),
            // The payload has the comment's last version and no time of the deletion.
            context.receipt_time(),
            json!({ "comment_id": id.to_string() }),
        )
    };
    Ok(Some(repo.signal(Fact {
        kind,
        key,
        at,
        actor: context.actor()?,
        subject: subject(&repo, &comment, &thread),
        normalized,
        raw,
    })))
}

/// The Signal of a new comment.
pub(in super::super) fn created(
    repo: &RepositoryRef,
    comment: &Comment,
    raw: &RawValue,
    thread: &Thread,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let id = comment.id.to_string();
    let (number, body) = (thread.number, &comment.body);
    let (kind, normalized) = match thread.kind {
        ThreadKind::Issue => (
            SignalKind::IssueCommented,
            json!({ "number": number, "comment_id": id, "body": body }),
        ),
        ThreadKind::PullRequest | ThreadKind::Diff => (
            SignalKind::PrCommented,
            json!({ "number": number, "comment_id": id, "body": body, "path": comment.path }),
        ),
        ThreadKind::Discussion => (
            SignalKind::DiscussionCommented,
            json!({ "number": number, "comment_id": id, "body": body }),
        ),
    };
    Ok(repo.signal(Fact {
        kind,
        key: format!("{}:{id}:created", thread.kind.key_prefix()),
        at: envelope.time_or_receipt(comment.created_at, "comment.created_at")?,
        actor: actor(comment.user.as_ref().or(envelope.sender.as_ref())),
        subject: subject(repo, comment, thread),
        normalized,
        raw,
    }))
}

fn subject(repo: &RepositoryRef, comment: &Comment, thread: &Thread) -> Subject {
    Subject {
        kind: thread.kind.key_prefix().to_owned(),
        id: comment.id.to_string(),
        key: repo.numbered(thread.number),
        title: thread.title.clone(),
        url: comment.html_url.clone(),
    }
}

/// The Signal of a `commit_comment` delivery.
pub(super) fn commit_comment(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if action != "created" {
        return Ok(None);
    }
    let repo = context.repo()?;
    let (comment, raw) = context.payload.object::<CommitComment>("comment")?;
    let sender = context.sender()?;
    let id = comment.id.to_string();
    Ok(Some(
        repo.signal(Fact {
            kind: SignalKind::CommitCommented,
            key: format!("commit_comment:{id}:created"),
            at: context.time_or_receipt(comment.created_at),
            actor: actor(comment.user.as_ref().or(sender.as_ref())),
            subject: Subject {
                kind: "commit_comment".to_owned(),
                id: id.clone(),
                key: comment
                    .commit_id
                    .as_ref()
                    .and_then(|commit| repo.at(commit)),
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
