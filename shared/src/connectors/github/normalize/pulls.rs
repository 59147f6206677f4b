//! Pull requests and their reviews.

use serde_json::json;
use serde_json::value::RawValue;

use super::changes::{self, Change, Changed, segment};
use super::{Envelope, Fact, Place, Scene, When, actor, need, reviewer};
use crate::connectors::github::wire::{Moment, PullRequest, Review, WireError};
use crate::signals::{SignalDraft, SignalKind, Subject};

/// The Signal of a `pull_request` delivery: every action has one.
pub(super) fn event(action: &str, scene: &Scene<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    if action.is_empty() {
        return Ok(None);
    }
    let place = scene.place()?;
    let (pull, raw) = scene.payload.object::<PullRequest>("pull_request")?;
    let envelope = scene.envelope()?;
    let signal = match action {
        "opened" => opened(&place, &pull, raw, &envelope)?,
        "closed" if pull.is_merged() => merged(&place, &pull, raw, &envelope)?,
        "closed" => closed(&place, &pull, raw, &envelope)?,
        _ => changed(action, scene, &place, &pull, raw)?,
    };
    Ok(Some(signal))
}

/// A pull request was opened.
pub(in super::super) fn opened(
    place: &Place,
    pull: &PullRequest,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let (base, head) = ends(pull);
    Ok(place.signal(Fact {
        kind: SignalKind::PrOpened,
        key: format!("pr:{}:opened", pull.id),
        at: envelope.when(pull.created_at, "pull_request.created_at")?,
        actor: actor(pull.user.as_ref().or(envelope.sender.as_ref())),
        subject: subject(place, pull),
        normalized: json!({
            "number": pull.number,
            "draft": pull.draft.unwrap_or(false),
            "base": base,
            "head": head,
        }),
        raw,
    }))
}

/// A pull request was merged.
pub(in super::super) fn merged(
    place: &Place,
    pull: &PullRequest,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let (base, head) = ends(pull);
    Ok(place.signal(Fact {
        kind: SignalKind::PrMerged,
        key: format!("pr:{}:merged", pull.id),
        at: envelope.when(merged_at(pull), "pull_request.merged_at")?,
        actor: actor(pull.merged_by.as_ref().or(envelope.sender.as_ref())),
        subject: subject(place, pull),
        normalized: json!({
            "number": pull.number,
            "base": base,
            "head": head,
            "merge_commit_sha": pull.merge_commit_sha,
        }),
        raw,
    }))
}

/// When a merged pull request was merged.
pub(in super::super) fn merged_at(pull: &PullRequest) -> Option<Moment> {
    pull.merged_at.or(pull.closed_at).or(pull.updated_at)
}

/// When a closed pull request was closed.
pub(in super::super) fn closed_at(pull: &PullRequest) -> Option<Moment> {
    pull.closed_at.or(pull.updated_at)
}

/// A pull request was closed without merging. The REST API's lists do not say by whom.
pub(in super::super) fn closed(
    place: &Place,
    pull: &PullRequest,
    raw: &RawValue,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let at = need(closed_at(pull), "pull_request.closed_at")?;
    let (base, head) = ends(pull);
    Ok(place.signal(Fact {
        kind: SignalKind::PrClosed,
        key: format!("pr:{}:closed:{at}", pull.id),
        at: When::from(at),
        actor: actor(envelope.sender.as_ref()),
        subject: subject(place, pull),
        normalized: json!({ "number": pull.number, "base": base, "head": head }),
        raw,
    }))
}

/// What only deliveries tell.
fn changed(
    action: &str,
    scene: &Scene<'_, '_>,
    place: &Place,
    pull: &PullRequest,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let (id, number) = (pull.id, pull.number);
    let updated_at = need(pull.updated_at, "pull_request.updated_at")?;
    let at = When::from(updated_at);
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
            let (reviewer, fields) = reviewer(scene)?;
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
                scene,
                &Changed {
                    number,
                    title: pull.title.as_deref(),
                    body: pull.body.as_deref(),
                    updated_at,
                },
            )?;
            // The change stands beside the pull request.
            raw = scene.payload.raw_whole()?;
            (SignalKind::PrUpdated, key, at, normalized)
        }
    };
    Ok(place.signal(Fact {
        kind,
        key: format!("pr:{id}:{key}"),
        at,
        actor: scene.actor()?,
        subject: subject(place, pull),
        normalized,
        raw,
    }))
}

/// The Signal of a `pull_request_review` delivery.
pub(super) fn review_event(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "submitted" | "dismissed") {
        return Ok(None);
    }
    let place = scene.place()?;
    let (review, raw) = scene.payload.object::<Review>("review")?;
    let pull: PullRequest = scene.payload.required("pull_request")?;
    let of = Reviewed::from(&pull);
    if action == "submitted" {
        return reviewed(&place, &review, raw, &of, &scene.envelope()?);
    }
    Ok(Some(place.signal(Fact {
        kind: SignalKind::PrReviewDismissed,
        key: format!("review:{}:dismissed", review.id),
        // Older payloads have only the time of its submission, which is another fact's.
        at: scene.when(review.updated_at),
        actor: scene.actor()?,
        subject: review_subject(&place, &review, &of),
        normalized: json!({ "number": pull.number, "review_id": review.id.to_string() }),
        raw,
    })))
}

/// The pull request that a review belongs to.
pub(in super::super) struct Reviewed<'a> {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: Option<&'a str>,
}

impl<'a> From<&'a PullRequest> for Reviewed<'a> {
    fn from(pull: &'a PullRequest) -> Self {
        Self {
            number: pull.number,
            title: pull.title.as_deref(),
        }
    }
}

/// A review was submitted; `None` for one that only holds comments, which tell it. The REST API
/// writes its state in capitals, and shows no more what a dismissed review had said.
pub(in super::super) fn reviewed(
    place: &Place,
    review: &Review,
    raw: &RawValue,
    pull: &Reviewed<'_>,
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
    Ok(Some(place.signal(Fact {
        kind: SignalKind::PrReviewed,
        key: format!("review:{}:submitted", review.id),
        at: envelope.when(review.submitted_at, "review.submitted_at")?,
        actor: actor(review.user.as_ref().or(envelope.sender.as_ref())),
        subject: review_subject(place, review, pull),
        normalized: json!({
            "number": pull.number,
            "review_id": review.id.to_string(),
            "state": state,
            "body": review.body,
        }),
        raw,
    })))
}

fn review_subject(place: &Place, review: &Review, pull: &Reviewed<'_>) -> Subject {
    Subject {
        kind: "review".to_owned(),
        id: review.id.to_string(),
        key: place.numbered(pull.number),
        title: pull.title.map(ToOwned::to_owned),
        url: review.html_url.clone(),
    }
}

/// The branches that a pull request joins.
fn ends(pull: &PullRequest) -> (Option<&str>, Option<&str>) {
    (
        pull.base.as_ref().and_then(|tip| tip.name.as_deref()),
        pull.head.as_ref().and_then(|tip| tip.name.as_deref()),
    )
}

fn subject(place: &Place, pull: &PullRequest) -> Subject {
    Subject {
        kind: "pull_request".to_owned(),
        id: pull.id.to_string(),
        key: place.numbered(pull.number),
        title: pull.title.clone(),
        url: pull.html_url.clone(),
    }
}
