//! Discussions, stars, forks, milestones, members.

use chrono::{DateTime, Utc};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Fact, Place, Scene, actor, key_id, need, person};
use crate::connectors::github::wire::{
    Discussion, Milestone, Repository, Stargazer, User, WireError,
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
            need(discussion.created_at, "discussion.created_at")?,
            actor(discussion.user.as_ref().or(sender.as_ref())),
        )
    } else {
        let at = discussion.answer_chosen_at.or(discussion.updated_at);
        let at = need(at, "discussion.answer_chosen_at")?;
        (
            SignalKind::DiscussionAnswered,
            format!("discussion:{}:answered:{at}", discussion.id),
            at,
            actor(discussion.answer_chosen_by.as_ref().or(sender.as_ref())),
        )
    };
    Ok(Some(place.signal(Fact {
        kind,
        key,
        at: at.0,
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

/// The Signal of a `star` delivery. A star that is taken back has no time of its own.
pub(super) fn star_event(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "created" | "deleted") {
        return Ok(None);
    }
    let place = scene.place()?;
    let raw = scene.payload.raw_whole()?;
    let user = scene.sender()?;
    if action == "created" {
        let star: Stargazer = scene.payload.whole()?;
        let user = user.as_ref();
        return Ok(Some(match star.starred_at {
            Some(at) => star_at(&place, user, &at.to_string(), at.0, raw),
            None => star_at(&place, user, &scene.day(), scene.received_at, raw),
        }));
    }
    Ok(Some(place.signal(Fact {
        kind: SignalKind::RepoUnstarred,
        key: format!(
            "unstar:{}:{}:{}",
            place.id,
            key_id(user.as_ref()),
            scene.day()
        ),
        at: scene.received_at,
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
    let at = need(star.starred_at, "starred_at")?;
    Ok(star_at(
        place,
        star.user.as_ref(),
        &at.to_string(),
        at.0,
        raw,
    ))
}

fn star_at(
    place: &Place,
    user: Option<&User>,
    when: &str,
    at: DateTime<Utc>,
    raw: &RawValue,
) -> SignalDraft {
    place.signal(Fact {
        kind: SignalKind::RepoStarred,
        key: format!("star:{}:{}:{when}", place.id, key_id(user)),
        at,
        actor: actor(user),
        subject: place.subject(),
        normalized: json!({}),
        raw,
    })
}

/// The Signal of a `fork` delivery.
pub(super) fn fork(scene: &Scene<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    let place = scene.place()?;
    let (forkee, raw) = scene.payload.object::<Repository>("forkee")?;
    let sender = scene.sender()?;
    Ok(Some(place.signal(Fact {
        kind: SignalKind::RepoForked,
        key: format!("fork:{}", forkee.id),
        at: forkee.created_at.map_or(scene.received_at, |at| at.0),
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
            need(milestone.created_at, "milestone.created_at")?,
            actor(milestone.creator.as_ref().or(sender.as_ref())),
        )
    } else {
        let at = need(
            milestone.closed_at.or(milestone.updated_at),
            "milestone.closed_at",
        )?;
        (
            SignalKind::MilestoneClosed,
            format!("milestone:{}:closed:{at}", milestone.id),
            at,
            actor(sender.as_ref()),
        )
    };
    Ok(Some(place.signal(Fact {
        kind,
        key,
        at: at.0,
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
    let place = scene.place()?;
    let member: Option<User> = scene.payload.optional("member")?;
    let member = member.as_ref();
    let id = key_id(member);
    Ok(Some(place.signal(Fact {
        kind: SignalKind::MemberAdded,
        key: format!("member:{}:{id}:added:{}", place.id, scene.day()),
        at: scene.received_at,
        actor: scene.actor()?,
        subject: Subject {
            kind: "member".to_owned(),
            id,
            key: member.and_then(|member| member.login.clone()),
            title: None,
            url: member.and_then(|member| member.html_url.clone()),
        },
        normalized: json!({ "member": person(member) }),
        raw: scene.payload.raw_whole()?,
    })))
}
