//! Pull requests and their reviews.

use serde_json::json;
use serde_json::value::RawValue;

use super::changes::{self, Change, ChangedObject, segment};
use super::{Envelope, Fact, FactTime, NormalizeContext, RepositoryRef, actor, require, reviewer};
use crate::connectors::github::wire::{PullRequest, Review, Timestamp, WireError};
use crate::model::{SignalDraft, SignalKind, Subject};

/// The Signal of a `pull_request` delivery; every action has one.
pub(super) fn event(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if action.is_empty() {
        return Ok(None);
    }
    let repo = context.repo()?;
    let (pull, raw) = context.payload.object::<PullRequest>("pull_request")?;
    let envelope = context.envelope()?;
    let signal = match action {
        "opened" => opened(&repo, &pull, raw, &envelope)?,
        "closed" if pull.is_merged() => merged(&repo, &pull, raw, &envelope)?,
        "closed" => closed(&repo, &pull, raw, &envelope)?,
        _ => changed(action, context, &repo, &pull, raw)?,
    };
    Ok(Some(signal))
}

/// The Signal of an opened pull request.
pub(in super::super) fn opened(
    repo: &RepositoryRef,
    pull: &PullRequest,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let (base, head) = branches(pull);
    Ok(repo.signal(Fact {
        kind: SignalKind::PrOpened,
        key: format!("pr:{}:opened", pull.id),
        at: envelope.time_or_receipt(pull.created_at, "pull_request.created_at")?,
        actor: actor(pull.user.as_ref().or(envelope.sender.as_ref())),
        subject: subject(repo, pull),
        normalized: json!({
            "number": pull.number,
            "draft": pull.draft.unwrap_or(false),
            "base": base,
            "head": head,
        }),
        raw,
    }))
}

/// The Signal of a merged pull request.
pub(in super::super) fn merged(
    repo: &RepositoryRef,
    pull: &PullRequest,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let (base, head) = branches(pull);
    Ok(repo.signal(Fact {
        kind: SignalKind::PrMerged,
        key: format!("pr:{}:merged", pull.id),
        at: envelope.time_or_receipt(merged_at(pull), "pull_request.merged_at")?,
        actor: actor(pull.merged_by.as_ref().or(envelope.sender.as_ref())),
        subject: subject(repo, pull),
        normalized: json!({
            "number": pull.number,
            "base": base,
            "head": head,
            "merge_commit_sha": pull.merge_commit_sha,
        }),
        raw,
    }))
}

/// Time at which a merged pull request was merged.
pub(in super::super) fn merged_at(pull: &PullRequest) -> Option<Timestamp> {
    pull.merged_at.or(pull.closed_at).or(pull.updated_at)
}

/// Time at which a closed pull request was closed.
pub(in super::super) fn closed_at(pull: &PullRequest) -> Option<Timestamp> {
    pull.closed_at.or(pull.updated_at)
}

/// The Signal of a pull request closed without merging.
///
/// The REST API's lists do not contain the person who closed it.
pub(in super::super) fn closed(
    repo: &RepositoryRef,
    pull: &PullRequest,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let at = require(closed_at(pull), "pull_request.closed_at")?;
    let (base, head) = branches(pull);
    Ok(repo.signal(Fact {
        kind: SignalKind::PrClosed,
        key: format!("pr:{}:closed:{at}", pull.id),
        at: FactTime::from(at),
        actor: actor(envelope.sender.as_ref()),
        subject: subject(repo, pull),
        normalized: json!({ "number": pull.number, "base": base, "head": head }),
        raw,
    }))
}

/// The Signal of a change that only deliveries contain.
fn changed(
    action: &str,
    context: &NormalizeContext<'_, '_>,
    repo: &RepositoryRef,
    pull: &PullRequest,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let (id, number) = (pull.id, pull.number);
    let updated_at = require(pull.updated_at, "pull_request.updated_at")?;
    let at = FactTime::from(updated_at);
    let mut raw = raw;
    let (kind, key, at, normalized) = match action {
        "reopened" => (
            SignalKind::PrReopened,
            format!("reopened:{updated_at}"),
            at,
            json!({ "number": number }),
        ),
        "ready_for_review" => (
            SignalKind::PrReadyForReview,
            format!("ready_for_review:{updated_at}"),
            at,
            json!({ "number": number }),
        ),
        "review_requested" => {
            let (reviewer, fields) = reviewer(context)?;
            (
                SignalKind::PrReviewRequested,
                format!("review_requested:{}{updated_at}", segment(reviewer)),
                at,
                json!({ "number": number, "reviewer": fields }),
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
                    title: pull.title.as_deref(),
                    body: pull.body.as_deref(),
                    updated_at,
                },
            )?;
            // The payload has the change beside the pull request.
            raw = context.payload.raw_whole()?;
            (SignalKind::PrUpdated, key, at, normalized)
        }
    };
    Ok(repo.signal(Fact {
        kind,
        key: format!("pr:{id}:{key}"),
        at,
        actor: context.actor()?,
        subject: subject(repo, pull),
        normalized,
        raw,
    }))
}

/// The Signal of a `pull_request_review` delivery.
pub(super) fn review_event(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "submitted" | "dismissed") {
        return Ok(None);
    }
    let repo = context.repo()?;
    let (review, raw) = context.payload.object::<Review>("review")?;
    let pull: PullRequest = context.payload.required("pull_request")?;
    let reviewed_pull = ReviewedPull::from(&pull);
    if action == "submitted" {
        return reviewed(&repo, &review, raw, &reviewed_pull, &context.envelope()?);
    }
    Ok(Some(repo.signal(Fact {
        kind: SignalKind::PrReviewDismissed,
        key: format!("review:{}:dismissed", review.id),
        // Older payloads have only the time of submission, which belongs to another fact.
        at: context.time_or_receipt(review.updated_at),
        actor: context.actor()?,
        subject: review_subject(&repo, &review, &reviewed_pull),
        normalized: json!({ "number": pull.number, "review_id": review.id.to_string() }),
        raw,
    })))
}

/// The pull request of a review.
pub(in super::super) struct ReviewedPull<'a> {
    /// Number.
    pub number: Option<u64>,
    /// Title.
    pub title: Option<&'a str>,
}

impl<'a> From<&'a PullRequest> for ReviewedPull<'a> {
    fn from(pull: &'a PullRequest) -> Self {
        Self {
            number: pull.number,
            title: pull.title.as_deref(),
        }
    }
}

/// The Signal of a submitted review; `None` if it has only comments.
///
/// Each comment has a separate Signal. The REST API returns the state in capitals, and no original
/// state for a dismissed review.
pub(in super::super) fn reviewed(
    repo: &RepositoryRef,
    review: &Review,
    raw: &RawValue,
    pull: &ReviewedPull<'_>,
    envelope: &Envelope,
) -> Result<Option<SignalDraft>, WireError> {
    let state = review.state.as_deref().map(str::to_ascii_lowercase);
    if state.as_deref() == Some("commented") && review.body.is_none() {
        return Ok(None);
    }
    let state = state.filter(|state| {
        matches!(
            state.as_str(),
            "approved" | "changes_requested" | "commented"
        )
    });
    Ok(Some(repo.signal(Fact {
        kind: SignalKind::PrReviewed,
        key: format!("review:{}:submitted", review.id),
        at: envelope.time_or_receipt(review.submitted_at, "review.submitted_at")?,
        actor: actor(review.user.as_ref().or(envelope.sender.as_ref())),
        subject: review_subject(repo, review, pull),
        normalized: json!({
            "number": pull.number,
            "review_id": review.id.to_string(),
            "state": state,
            "body": review.body,
        }),
        raw,
    })))
}

fn review_subject(repo: &RepositoryRef, review: &Review, pull: &ReviewedPull<'_>) -> Subject {
    Subject {
        kind: "review".to_owned(),
        id: review.id.to_string(),
        key: repo.numbered(pull.number),
        title: pull.title.map(ToOwned::to_owned),
        url: review.html_url.clone(),
    }
}

/// The base and head branches of a pull request.
fn branches(pull: &PullRequest) -> (Option<&str>, Option<&str>) {
    (
        pull.base.as_ref().and_then(|branch| branch.name.as_deref()),
        pull.head.as_ref().and_then(|branch| branch.name.as_deref()),
    )
}

fn subject(repo: &RepositoryRef, pull: &PullRequest) -> Subject {
    Subject {
        kind: "pull_request".to_owned(),
        id: pull.id.to_string(),
        key: repo.numbered(pull.number),
        title: pull.title.clone(),
        url: pull.html_url.clone(),
    }
}
