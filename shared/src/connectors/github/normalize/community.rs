//! Discussions, stars, forks, milestones, members.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Fact, Place, Scene, When, actor, need, person};
use crate::connectors::github::wire::{
    Discussion, Milestone, Moment, Repository, Stargazer, User, WireError,
};
use crate::signals::{SignalDraft, SignalKind, Subject};

/// The Signal of a `discussion` delivery.
pub(super) fn discussion(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "created" | "answered") {
        return Ok(None);
    }
    let place = scene.place()?;
    let (discussion, raw) = scene.payload.object::<Discussion>("discussion")?;
    let sender = scene.sender()?;
    let (kind, key, at, by) = if action == "created" {
        (
            SignalKind::DiscussionCreated,
            format!("discussion:{}:created", discussion.id),
            scene.when(discussion.created_at),
            actor(discussion.user.as_ref().or(sender.as_ref())),
        )
    } else {
        let at = need(discussion.answer_chosen_at, "discussion.answer_chosen_at")?;
        (
            SignalKind::DiscussionAnswered,
            format!("discussion:{}:answered:{at}", discussion.id),
            When::from(at),
            actor(discussion.answer_chosen_by.as_ref().or(sender.as_ref())),
        )
    };
    Ok(Some(place.signal(Fact {
        kind,
        key,
        at,
        actor: by,
        subject: Subject {
            kind: "discussion".to_owned(),
            id: discussion.id.to_string(),
            key: place.numbered(discussion.number),
            title: discussion.title.clone(),
            url: discussion.html_url.clone(),
        },
        normalized: json!({
            "number": discussion.number,
            "category": discussion.category.as_ref().and_then(|found| found.name.as_ref()),
        }),
        raw,
    })))
}

/// The Signal of a `star` delivery. A star that is taken back has no time of its own; the
/// repository changes with it.
pub(super) fn star_event(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "created" | "deleted") {
        return Ok(None);
    }
    let repository = scene.repository()?;
    let place = Place::from(&repository);
    let raw = scene.payload.raw_whole()?;
    let user = scene.sender()?;
    if action == "created" {
        let star: Stargazer = scene.payload.whole()?;
        return star_at(&place, user.as_ref(), star.starred_at, raw).map(Some);
    }
    let id = need(user.as_ref().and_then(|user| user.id), "sender.id")?;
    let updated_at = need(repository.updated_at, "repository.updated_at")?;
    Ok(Some(place.signal(Fact {
        kind: SignalKind::RepoUnstarred,
        key: format!("unstar:{}:{id}:{updated_at}", place.id),
        at: scene.receipt(),
        actor: actor(user.as_ref()),
        subject: place.subject(),
        normalized: json!({}),
        raw,
    })))
}

/// A repository was starred.
pub(in super::super) fn starred(
    place: &Place,
    star: &Stargazer,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    star_at(place, star.user.as_ref(), star.starred_at, raw)
}

fn star_at(
    place: &Place,
    user: Option<&User>,
    starred_at: Option<Moment>,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let id = need(user.and_then(|user| user.id), "user.id")?;
    let at = need(starred_at, "starred_at")?;
    Ok(place.signal(Fact {
        kind: SignalKind::RepoStarred,
        key: format!("star:{}:{id}:{at}", place.id),
        at: When::from(at),
        actor: actor(user),
        subject: place.subject(),
        normalized: json!({}),
        raw,
    }))
}

/// The Signal of a `fork` delivery.
pub(super) fn fork(scene: &Scene<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    let place = scene.place()?;
    let (forkee, raw) = scene.payload.object::<Repository>("forkee")?;
    let sender = scene.sender()?;
    Ok(Some(place.signal(Fact {
        kind: SignalKind::RepoForked,
        key: format!("fork:{}", forkee.id),
        at: scene.when(forkee.created_at),
        actor: actor(sender.as_ref().or(forkee.owner.as_ref())),
        subject: place.subject(),
        normalized: json!({
            "forkee": {
                "id": forkee.id.to_string(),
                "name": forkee.full_name(),
                "url": forkee.html_url,
            },
        }),
        raw,
    })))
}

/// The Signal of a `milestone` delivery.
pub(super) fn milestone(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "created" | "closed") {
        return Ok(None);
    }
    let place = scene.place()?;
    let (milestone, raw) = scene.payload.object::<Milestone>("milestone")?;
    let sender = scene.sender()?;
    let (kind, key, at, by) = if action == "created" {
        (
            SignalKind::MilestoneCreated,
            format!("milestone:{}:created", milestone.id),
            scene.when(milestone.created_at),
            actor(milestone.creator.as_ref().or(sender.as_ref())),
        )
    } else {
        let at = need(milestone.closed_at, "milestone.closed_at")?;
        (
            SignalKind::MilestoneClosed,
            format!("milestone:{}:closed:{at}", milestone.id),
            When::from(at),
            actor(sender.as_ref()),
        )
    };
    Ok(Some(place.signal(Fact {
        kind,
        key,
        at,
        actor: by,
        subject: Subject {
            kind: "milestone".to_owned(),
            id: milestone.id.to_string(),
            key: None,
            title: milestone.title.clone(),
            url: milestone.html_url.clone(),
        },
        normalized: json!({ "number": milestone.number, "due_on": milestone.due_on }),
        raw,
    })))
}

/// The Signal of a `member` delivery.
pub(super) fn member(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if action != "added" {
        return Ok(None);
    }
    let repository = scene.repository()?;
    let place = Place::from(&repository);
    let member: User = scene.payload.required("member")?;
    let id = need(member.id, "member.id")?;
    let updated_at = need(repository.updated_at, "repository.updated_at")?;
    Ok(Some(place.signal(Fact {
        kind: SignalKind::MemberAdded,
        key: format!("member:{}:{id}:added:{updated_at}", place.id),
        at: scene.receipt(),
        actor: scene.actor()?,
        subject: Subject {
            kind: "member".to_owned(),
            id: id.to_string(),
            key: member.login.clone(),
            title: None,
            url: member.html_url.clone(),
        },
        normalized: json!({ "member": person(Some(&member)) }),
        raw: scene.payload.raw_whole()?,
    })))
}
