//! Pull requests and their reviews.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Fact, Place, Scene, actor, need};
use crate::connectors::github::wire::{Moment, PullRequest, Review, Team, User, WireError};
use crate::signals::{SignalDraft, SignalKind, Subject};

/// The Signal of a `pull_request` delivery: every action has one.
pub(super) fn event(action: &str, scene: &Scene<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    if action.is_empty() {
        return Ok(None);
    }
    let place = scene.place()?;
    let (pull, raw) = scene.payload.object::<PullRequest>("pull_request")?;
    let sender = scene.sender()?;
    let by = sender.as_ref();
    let signal = match action {
        "opened" => opened(&place, &pull, raw, by)?,
        "closed" if pull.is_merged() => merged(&place, &pull, raw, by)?,
        "closed" => closed(&place, &pull, raw, by)?,
        _ => changed(action, scene, &place, &pull, raw)?,
    };
    Ok(Some(signal))
}

/// A pull request was opened. `by` is whom to name when it names no author.
pub(in super::super) fn opened(
    place: &Place,
    pull: &PullRequest,
    raw: &RawValue,
    by: Option<&User>,
) -> Result<SignalDraft, WireError> {
    let (base, head) = ends(pull);
    Ok(place.signal(Fact {
        kind: SignalKind::PrOpened,
        key: format!("pr:{}:opened", pull.id),
        at: need(pull.created_at, "pull_request.created_at")?.0,
        actor: actor(pull.user.as_ref().or(by)),
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

/// A pull request was merged. `by` is whom to name when it does not say who merged it.
pub(in super::super) fn merged(
    place: &Place,
    pull: &PullRequest,
    raw: &RawValue,
    by: Option<&User>,
) -> Result<SignalDraft, WireError> {
    let (base, head) = ends(pull);
    Ok(place.signal(Fact {
        kind: SignalKind::PrMerged,
        key: format!("pr:{}:merged", pull.id),
        at: need(merged_at(pull), "pull_request.merged_at")?.0,
        actor: actor(pull.merged_by.as_ref().or(by)),
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
    by: Option<&User>,
) -> Result<SignalDraft, WireError> {
    let at = need(closed_at(pull), "pull_request.closed_at")?;
    let (base, head) = ends(pull);
    Ok(place.signal(Fact {
        kind: SignalKind::PrClosed,
        key: format!("pr:{}:closed:{at}", pull.id),
        at: at.0,
        actor: actor(by),
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
    let at = need(pull.updated_at, "pull_request.updated_at")?;
    let (kind, key, normalized) = match action {
        "reopened" => (
            SignalKind::PrReopened,
            format!("pr:{id}:reopened:{at}"),
            json!({ "number": number }),
        ),
        "ready_for_review" => (
            SignalKind::PrReadyForReview,
            format!("pr:{id}:ready_for_review:{at}"),
            json!({ "number": number }),
        ),
        "review_requested" => {
            let (reviewer, normalized) = reviewer(scene)?;
            (
                SignalKind::PrReviewRequested,
                format!("pr:{id}:review_requested:{reviewer}:{at}"),
                json!({ "number": number, "reviewer": normalized }),
            )
        }
        _ => (
            SignalKind::PrUpdated,
            format!("pr:{id}:{action}:{at}"),
            json!({ "number": number, "change": action }),
        ),
    };
    Ok(place.signal(Fact {
        kind,
        key,
        at: at.0,
        actor: scene.actor()?,
        subject: subject(place, pull),
        normalized,
        raw,
    }))
}

/// Of whom a review is asked: a person or a team, its id in the key, and its fields.
fn reviewer(scene: &Scene<'_, '_>) -> Result<(String, serde_json::Value), WireError> {
    let person: Option<User> = scene.payload.optional("requested_reviewer")?;
    let team: Option<Team> = scene.payload.optional("requested_team")?;
    let (kind, id, name) = match (person, team) {
        (Some(person), _) => ("user", person.id, person.login),
        (None, Some(team)) => ("team", team.id, team.name),
        (None, None) => ("unknown", None, None),
    };
    let id = id.map(|id| id.to_string());
    let key = id.clone().unwrap_or_else(|| super::GHOST.to_owned());
    Ok((key, json!({ "type": kind, "id": id, "name": name })))
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
    let (mut review, raw) = scene.payload.object::<Review>("review")?;
    let pull: PullRequest = scene.payload.required("pull_request")?;
    if action == "submitted" {
        let sender = scene.sender()?;
        review.submitted_at = review
            .submitted_at
            .or(pull.updated_at)
            .or(Some(scene.receipt()));
        return reviewed(
            &place,
            &review,
            raw,
            &Reviewed::from(&pull),
            sender.as_ref(),
        )
        .map(Some);
    }
    Ok(Some(place.signal(Fact {
        kind: SignalKind::PrReviewDismissed,
        key: format!("review:{}:dismissed", review.id),
        // The review keeps the time of its submission; dismissing touches the pull request.
        at: pull.updated_at.map_or(scene.received_at, |at| at.0),
        actor: scene.actor()?,
        subject: review_subject(&place, &review, &Reviewed::from(&pull)),
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

/// A review was submitted. The REST API writes its state in capitals, and shows no more
/// what a dismissed review had said.
pub(in super::super) fn reviewed(
    place: &Place,
    review: &Review,
    raw: &RawValue,
    pull: &Reviewed<'_>,
    by: Option<&User>,
) -> Result<SignalDraft, WireError> {
    let state = review.state.as_deref().map(str::to_ascii_lowercase);
    let state = state.filter(|state| {
        matches!(
            state.as_str(),
            "approved" | "changes_requested" | "commented"
        )
    });
    Ok(place.signal(Fact {
        kind: SignalKind::PrReviewed,
        key: format!("review:{}:submitted", review.id),
        at: need(review.submitted_at, "review.submitted_at")?.0,
        actor: actor(review.user.as_ref().or(by)),
        subject: review_subject(place, review, pull),
        normalized: json!({
            "number": pull.number,
            "review_id": review.id.to_string(),
            "state": state,
            "body": review.body,
        }),
        raw,
    }))
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
