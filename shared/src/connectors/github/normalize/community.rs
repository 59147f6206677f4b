//! Discussions, stars, forks, milestones, members.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Fact, FactTime, NormalizeContext, RepositoryRef, actor, require, user_json};
use crate::connectors::github::wire::{
    Discussion, Milestone, Repository, Stargazer, Timestamp, User, WireError,
};
use crate::model::{SignalDraft, SignalKind, Subject};

/// The Signal of a `discussion` delivery.
pub(super) fn discussion(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "created" | "answered") {
        return Ok(None);
    }
    let repo = context.repo()?;
    let (discussion, raw) = context.payload.object::<Discussion>("discussion")?;
    let sender = context.sender()?;
    let (kind, key, at, actor) = if action == "created" {
        (
            SignalKind::DiscussionCreated,
            format!("discussion:{}:created", discussion.id),
            context.time_or_receipt(discussion.created_at),
            actor(discussion.user.as_ref().or(sender.as_ref())),
        )
    } else {
        let at = require(discussion.answer_chosen_at, "discussion.answer_chosen_at")?;
        (
            SignalKind::DiscussionAnswered,
            format!("discussion:{}:answered:{at}", discussion.id),
            FactTime::from(at),
            actor(discussion.answer_chosen_by.as_ref().or(sender.as_ref())),
        )
    };
    Ok(Some(repo.signal(Fact {
        kind,
        key,
        at,
        actor,
        subject: Subject {
            kind: "discussion".to_owned(),
            id: discussion.id.to_string(),
            key: repo.numbered(discussion.number),
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

/// The Signal of a `star` delivery.
///
/// A removed star has no time; the update of the repository distinguishes repeated removals.
pub(super) fn star_event(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "created" | "deleted") {
        return Ok(None);
    }
    let repository = context.repository()?;
    let repo = RepositoryRef::from(&repository);
    let raw = context.payload.raw_whole()?;
    let user = context.sender()?;
    if action == "created" {
        let star: Stargazer = context.payload.whole()?;
        return star_signal(&repo, user.as_ref(), star.starred_at, raw).map(Some);
    }
    let id = require(user.as_ref().and_then(|user| user.id), "sender.id")?;
    let updated_at = require(repository.updated_at, "repository.updated_at")?;
    Ok(Some(repo.signal(Fact {
        kind: SignalKind::RepoUnstarred,
        key: format!("unstar:{}:{id}:{updated_at}", repo.id),
        at: context.receipt_time(),
        actor: actor(user.as_ref()),
        subject: repo.subject(),
        normalized: json!({}),
        raw,
    })))
}

/// The Signal of a starred repository.
pub(in super::super) fn starred(
    repo: &RepositoryRef,
    star: &Stargazer,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    star_signal(repo, star.user.as_ref(), star.starred_at, raw)
}

fn star_signal(
    repo: &RepositoryRef,
    user: Option<&User>,
    starred_at: Option<Timestamp>,
    raw: &RawValue,
) -> Result<SignalDraft, WireError> {
    let id = require(user.and_then(|user| user.id), "user.id")?;
    let at = require(starred_at, "starred_at")?;
    Ok(repo.signal(Fact {
        kind: SignalKind::RepoStarred,
        key: format!("star:{}:{id}:{at}", repo.id),
        at: FactTime::from(at),
        actor: actor(user),
        subject: repo.subject(),
        normalized: json!({}),
        raw,
    }))
}

/// The Signal of a `fork` delivery.
pub(super) fn fork(context: &NormalizeContext<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    let repo = context.repo()?;
    let (forkee, raw) = context.payload.object::<Repository>("forkee")?;
    let sender = context.sender()?;
    Ok(Some(repo.signal(Fact {
        kind: SignalKind::RepoForked,
        key: format!("fork:{}", forkee.id),
        at: context.time_or_receipt(forkee.created_at),
        actor: actor(sender.as_ref().or(forkee.owner.as_ref())),
        subject: repo.subject(),
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
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if !matches!(action, "created" | "closed") {
        return Ok(None);
    }
    let repo = context.repo()?;
    let (milestone, raw) = context.payload.object::<Milestone>("milestone")?;
    let sender = context.sender()?;
    let (kind, key, at, actor) = if action == "created" {
        (
            SignalKind::MilestoneCreated,
            format!("milestone:{}:created", milestone.id),
            context.time_or_receipt(milestone.created_at),
            actor(milestone.creator.as_ref().or(sender.as_ref())),
        )
    } else {
        let at = require(milestone.closed_at, "milestone.closed_at")?;
        (
            SignalKind::MilestoneClosed,
            format!("milestone:{}:closed:{at}", milestone.id),
            FactTime::from(at),
            actor(sender.as_ref()),
        )
    };
    Ok(Some(repo.signal(Fact {
        kind,
        key,
        at,
        actor,
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
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if action != "added" {
        return Ok(None);
    }
    let repository = context.repository()?;
    let repo = RepositoryRef::from(&repository);
    let member: User = context.payload.required("member")?;
    let id = require(member.id, "member.id")?;
    let updated_at = require(repository.updated_at, "repository.updated_at")?;
    Ok(Some(repo.signal(Fact {
        kind: SignalKind::MemberAdded,
        key: format!("member:{}:{id}:added:{updated_at}", repo.id),
        at: context.receipt_time(),
        actor: context.actor()?,
        subject: Subject {
            kind: "member".to_owned(),
            id: id.to_string(),
            key: member.login.clone(),
            title: None,
            url: member.html_url.clone(),
        },
        normalized: json!({ "member": user_json(Some(&member)) }),
        raw: context.payload.raw_whole()?,
    })))
}
