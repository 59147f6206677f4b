//! Issues that leave their repository: deleted, or transferred to another one.

use std::cell::OnceCell;

use serde_json::json;

use super::issue::{announce, subject};
use super::{Act, Outcome, Refused, Scene, Stage, refused};
use crate::simulator::github::facts;
use crate::simulator::github::render;
use crate::simulator::github::world::{Id, Numbered};

pub(super) fn delete(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, |_| true)?;
    let heard = announce(stage, scene, "deleted", id, json!({}));
    let found = stage.repository_mut(scene.repository)?;
    let Some(issue) = found.issues.remove(id) else {
        return refused("the issue is gone");
    };
    found.numbers.remove(&issue.number);
    if issue.closed_at.is_none() {
        found.open_issues = found.open_issues.saturating_sub(1);
    }
    found.changed();
    let mut hidden = issue.facts;
    let comments: Vec<Id> = found
        .comments
        .iter()
        .filter(|comment| comment.issue == id)
        .map(|comment| comment.id)
        .collect();
    for comment in comments {
        hidden.extend(
            found
                .comments
                .remove(comment)
                .map(|comment| comment.facts)
                .unwrap_or_default(),
        );
    }
    stage.hub.core.ledger.hide(&hidden);
    stage
        .world
        .gone
        .insert((scene.repository, issue.number), None);
    stage.record(scene.repository, facts::issue_deleted(id), heard);
    Ok(json!({"id": id, "number": issue.number}))
}

/// Moves an open issue to another repository of the account, where it is a new
/// issue with the old date and its comments.
pub(super) fn transfer(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, |issue| issue.closed_at.is_none())?;
    let siblings = stage
        .world
        .accounts
        .get(&scene.account)
        .map(|account| account.repositories.clone());
    let wanted = act
        .to
        .as_ref()
        .and_then(|name| stage.world.repository_id(&act.account, name));
    let target = wanted.or_else(|| {
        siblings
            .unwrap_or_default()
            .into_iter()
            .find(|other| *other != scene.repository)
    });
    let Some(target) = target.filter(|target| *target != scene.repository) else {
        return refused("no other repository to transfer to");
    };
    let new_id = stage.world.number(Numbered::Issue);
    let old_issue = issue_value(stage, scene.repository, id)?;
    let old_repository = render::repository(stage.world, stage.repository(scene.repository)?);
    let number = place_copy(stage, scene, id, target, new_id)?;
    let there = Scene {
        repository: target,
        ..scene
    };
    let moved = json!({"changes": {
        "new_issue": issue_value(stage, target, new_id)?,
        "new_repository": render::repository(stage.world, stage.repository(target)?),
    }, "issue": old_issue});
    let heard = stage.announce(
        scene.repository,
        "issues",
        Some("transferred"),
        scene.actor,
        |_, _| moved,
    );
    stage.record(scene.repository, facts::issue_transferred(id), heard);
    let origin = json!({"changes": {"old_issue": old_issue, "old_repository": old_repository}});
    let heard = announce(stage, there, "opened", new_id, origin);
    let seq = stage.record(target, facts::issue_created(new_id), heard);
    stage
        .repository_mut(target)?
        .issues
        .change(new_id, |issue| issue.facts.push(seq));
    Ok(json!({"id": id, "new_id": new_id, "number": number}))
}

fn issue_value(stage: &Stage<'_>, repository: Id, id: Id) -> Outcome {
    let found = stage.repository(repository)?;
    let issue = found
        .issues
        .get(id)
        .ok_or_else(|| Refused("the issue is gone".to_owned()))?;
    Ok(render::issue(stage.world, found, issue))
}

/// Takes the issue and its comments out of one repository and into another.
fn place_copy(
    stage: &mut Stage<'_>,
    scene: Scene,
    id: Id,
    target: Id,
    new_id: Id,
) -> Result<u32, Refused> {
    let at = stage.at;
    let from = stage.repository_mut(scene.repository)?;
    let Some(mut issue) = from.issues.remove(id) else {
        return refused("the issue is gone");
    };
    let old_number = issue.number;
    from.numbers.remove(&old_number);
    from.open_issues = from.open_issues.saturating_sub(1);
    from.changed();
    let ids: Vec<Id> = from
        .comments
        .iter()
        .filter(|comment| comment.issue == id)
        .map(|comment| comment.id)
        .collect();
    let comments: Vec<_> = ids
        .into_iter()
        .filter_map(|id| from.comments.remove(id))
        .collect();
    stage.hub.core.ledger.hide(&issue.facts);
    let to = stage.repository_mut(target)?;
    issue.id = new_id;
    issue.number = to.take_number();
    issue.updated_at = at;
    issue.facts.clear();
    issue.labels.clear();
    issue.milestone = None;
    issue.listed_row = OnceCell::new();
    let number = issue.number;
    to.numbers.insert(number, new_id);
    to.open_issues += 1;
    to.changed();
    to.issues.insert(issue);
    for mut comment in comments {
        comment.issue = new_id;
        comment.rendered = OnceCell::new();
        to.comments.insert(comment);
    }
    stage
        .world
        .gone
        .insert((scene.repository, old_number), Some((target, number)));
    Ok(number)
}
