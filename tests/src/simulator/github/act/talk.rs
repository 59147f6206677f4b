//! Comments on issues, pull requests and commits.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{Act, Outcome, Refused, Scene, Stage, issue, refused};
use crate::simulator::github::facts;
use crate::simulator::github::render;
use crate::simulator::github::world::{Comment, Id, Numbered};

pub(super) fn perform(
    stage: &mut Stage<'_>,
    scene: Scene,
    event: &str,
    action: &str,
    act: &Act,
) -> Outcome {
    match (event, action) {
        ("issue_comment", "created") => Ok(json!({"id": create(stage, scene, act)?})),
        ("issue_comment", "edited") => edit(stage, scene, act),
        ("issue_comment", "deleted") => delete(stage, scene, act),
        ("commit_comment", "created") => comment_on_commit(stage, scene, act),
        _ => refused(format!("no action {event}.{action}")),
    }
}

/// The body the action names, or this.
pub(super) fn text(act: &Act, otherwise: &str) -> String {
    act.body.clone().unwrap_or_else(|| otherwise.to_owned())
}

fn create(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<Id, Refused> {
    let found = stage.choose_issue(scene.repository, act.number, |_| true)?;
    let parent = match found {
        Some(id) => id,
        None => issue::open(stage, scene, &Act::default())?,
    };
    let id = stage.world.number(Numbered::Comment);
    let at = stage.at;
    let body = text(act, "I can confirm this.");
    let found = stage.repository_mut(scene.repository)?;
    let on_pull = found.issues.change(parent, |issue| {
        issue.comments += 1;
        issue.updated_at = at;
        issue.pull.is_some()
    });
    found.comments.insert(Comment {
        id,
        issue: parent,
        user: scene.actor,
        body,
        created_at: at,
        updated_at: at,
        facts: Vec::new(),
        rendered: OnceCell::new(),
    });
    let heard = announce(stage, scene, "created", id, json!({}));
    let fact = facts::comment_created(id, on_pull.unwrap_or(false));
    let seq = stage.record(scene.repository, fact, heard);
    stage
        .repository_mut(scene.repository)?
        .comments
        .change(id, |comment| comment.facts.push(seq));
    Ok(id)
}

fn announce(
    stage: &mut Stage<'_>,
    scene: Scene,
    action: &'static str,
    id: Id,
    extra: Value,
) -> bool {
    stage.announce(
        scene.repository,
        "issue_comment",
        Some(action),
        scene.actor,
        |world, found| {
            let mut body = extra;
            let Some(comment) = found.comments.get(id) else {
                return body;
            };
            let Some(issue) = found.issues.get(comment.issue) else {
                return body;
            };
            body["comment"] = render::comment(world, found, issue, comment);
            body["issue"] = render::issue(world, found, issue);
            body
        },
    )
}

/// The comment that is meant, or the newest, or a new one.
fn choose(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<Id, Refused> {
    let found = stage.repository(scene.repository)?;
    if let Some(id) = act.id {
        let known = found.comments.get(id).map(|comment| comment.id);
        return known.ok_or_else(|| Refused(format!("no comment {id}")));
    }
    let newest = found.comments.newest().next().map(|comment| comment.id);
    match newest {
        Some(id) => Ok(id),
        None => create(stage, scene, &Act::default()),
    }
}

fn edit(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = choose(stage, scene, act)?;
    let at = stage.at;
    let body = text(act, "I can confirm this on two machines.");
    stage
        .repository_mut(scene.repository)?
        .comments
        .change(id, |comment| {
            comment.body.clone_from(&body);
            comment.updated_at = at;
        });
    let changes = json!({"changes": {"body": {"from": "An earlier text"}}});
    let heard = announce(stage, scene, "edited", id, changes);
    stage.record(
        scene.repository,
        facts::comment_edited("comment", id, at, &body),
        heard,
    );
    Ok(json!({ "id": id }))
}

fn delete(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = choose(stage, scene, act)?;
    let heard = announce(stage, scene, "deleted", id, json!({}));
    let found = stage.repository_mut(scene.repository)?;
    let removed = found.comments.remove(id);
    if let Some(comment) = &removed {
        found.issues.change(comment.issue, |issue| {
            issue.comments = issue.comments.saturating_sub(1);
        });
    }
    stage
        .hub
        .core
        .ledger
        .hide(&removed.map(|comment| comment.facts).unwrap_or_default());
    stage.record(
        scene.repository,
        facts::comment_deleted("comment", id),
        heard,
    );
    Ok(json!({ "id": id }))
}

fn comment_on_commit(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = stage.world.number(Numbered::CommitComment);
    let at = stage.at;
    let body = text(act, "Why this way?");
    let sha = stage
        .repository(scene.repository)?
        .commits
        .last()
        .map(|commit| commit.sha.clone());
    let Some(sha) = sha else {
        return refused("the repository is empty");
    };
    let author = scene.actor;
    let heard = stage.announce(scene.repository, "commit_comment", Some("created"), author, |world, found| {
        json!({"comment": render::commit_comment(world, found, &sha, (id, author, &body, at))})
    });
    stage.record(scene.repository, facts::commit_commented(id), heard);
    Ok(json!({ "id": id }))
}
