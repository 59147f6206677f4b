//! Conversation: comments on issues, pull requests, commits and discussions.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{Act, Outcome, Refused, Scene, Stage, issue, refused, title};
use crate::simulator::github::facts;
use crate::simulator::github::render;
use crate::simulator::github::world::{Comment, Discussion, DiscussionComment, Id, Numbered};

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
        ("discussion", "created") => {
            let id = discuss(stage, scene, act)?;
            Ok(json!({ "id": id }))
        }
        ("discussion", "answered") => choose_answer(stage, scene, act),
        ("discussion_comment", "created") => {
            let (_, id) = reply(stage, scene, act)?;
            Ok(json!({ "id": id }))
        }
        ("discussion_comment", "edited") => edit_reply(stage, scene, act),
        ("discussion_comment", "deleted") => delete_reply(stage, scene, act),
        _ => refused(format!("no action {event}.{action}")),
    }
}

fn text(act: &Act, otherwise: &str) -> String {
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
            comment.body = body;
            comment.updated_at = at;
        });
    let changes = json!({"changes": {"body": {"from": "An earlier text"}}});
    let heard = announce(stage, scene, "edited", id, changes);
    stage.record(
        scene.repository,
        facts::comment_edited("comment", id, at),
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
            issue.comments = issue.comments.saturating_sub(1)
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

fn discuss(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<Id, Refused> {
    let id = stage.world.number(Numbered::Discussion);
    let at = stage.at;
    let title = act.title.clone().unwrap_or_else(|| title(stage));
    let body = text(act, "How do you do this?");
    let found = stage.repository_mut(scene.repository)?;
    let number = found.take_number();
    found.discussions.push(Discussion {
        id,
        number,
        title,
        body,
        user: scene.actor,
        created_at: at,
        updated_at: at,
        answer: None,
        comments: Vec::new(),
    });
    let heard = stage.announce(scene.repository, "discussion", Some("created"), scene.actor, |world, found| {
        let discussion = found.discussions.iter().find(|discussion| discussion.id == id);
        json!({"discussion": discussion.map(|discussion| render::discussion(world, found, discussion))})
    });
    stage.record(scene.repository, facts::discussion_created(id), heard);
    Ok(id)
}

/// The discussion of this number, or the newest, or a new one.
fn any_discussion(stage: &mut Stage<'_>, scene: Scene, number: Option<u32>) -> Result<Id, Refused> {
    let found = stage.repository(scene.repository)?;
    let known = match number {
        Some(number) => found
            .discussions
            .iter()
            .find(|discussion| discussion.number == number),
        None => found.discussions.last(),
    };
    match (known.map(|discussion| discussion.id), number) {
        (Some(id), _) => Ok(id),
        (None, Some(number)) => refused(format!("no discussion #{number}")),
        (None, None) => discuss(stage, scene, &Act::default()),
    }
}

fn discussion_mut<'a>(
    stage: &'a mut Stage<'_>,
    scene: Scene,
    id: Id,
) -> Result<&'a mut Discussion, Refused> {
    let found = stage.repository_mut(scene.repository)?;
    let discussion = found
        .discussions
        .iter_mut()
        .find(|discussion| discussion.id == id);
    discussion.ok_or_else(|| Refused("the discussion is gone".to_owned()))
}

fn reply(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<(Id, Id), Refused> {
    let discussion = any_discussion(stage, scene, act.number)?;
    let id = stage.world.number(Numbered::DiscussionComment);
    let (at, user) = (stage.at, scene.actor);
    let body = text(act, "Like this.");
    let entry = discussion_mut(stage, scene, discussion)?;
    entry.updated_at = at;
    entry.comments.push(DiscussionComment {
        id,
        user,
        body,
        created_at: at,
        updated_at: at,
    });
    let heard = announce_reply(stage, scene, "created", discussion, id, json!({}));
    stage.record(scene.repository, facts::discussion_commented(id), heard);
    Ok((discussion, id))
}

fn announce_reply(
    stage: &mut Stage<'_>,
    scene: Scene,
    action: &'static str,
    discussion: Id,
    id: Id,
    extra: Value,
) -> bool {
    stage.announce(
        scene.repository,
        "discussion_comment",
        Some(action),
        scene.actor,
        |world, found| {
            let mut body = extra;
            let Some(entry) = found
                .discussions
                .iter()
                .find(|entry| entry.id == discussion)
            else {
                return body;
            };
            let comment = entry.comments.iter().find(|comment| comment.id == id);
            body["discussion"] = render::discussion(world, found, entry);
            body["comment"] = comment.map_or(Value::Null, |comment| {
                render::discussion_comment(world, found, entry, comment)
            });
            body
        },
    )
}

fn choose_answer(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let found = stage.repository(scene.repository)?;
    let open = found.discussions.iter().rev().find(|entry| {
        entry.answer.is_none()
            && !entry.comments.is_empty()
            && act.number.is_none_or(|number| number == entry.number)
    });
    let open = open.and_then(|entry| entry.comments.last().map(|comment| (entry.id, comment.id)));
    let (discussion, comment) = match open {
        Some(found) => found,
        None => {
            let id = match act.number {
                Some(number) => any_discussion(stage, scene, Some(number))?,
                None => discuss(stage, scene, &Act::default())?,
            };
            let number = discussion_mut(stage, scene, id)?.number;
            reply(
                stage,
                scene,
                &Act {
                    number: Some(number),
                    ..Act::default()
                },
            )?
        }
    };
    let (at, actor) = (stage.at, scene.actor);
    let entry = discussion_mut(stage, scene, discussion)?;
    entry.answer = Some((comment, at, actor));
    entry.updated_at = at;
    let heard = stage.announce(
        scene.repository,
        "discussion",
        Some("answered"),
        actor,
        |world, found| {
            let Some(entry) = found
                .discussions
                .iter()
                .find(|entry| entry.id == discussion)
            else {
                return Value::Null;
            };
            let chosen = entry.comments.iter().find(|entry| entry.id == comment);
            let mut answer = chosen.map_or(Value::Null, |chosen| {
                render::discussion_comment(world, found, entry, chosen)
            });
            if let Some(answer) = answer.as_object_mut() {
                answer.remove("reactions");
            }
            json!({"discussion": render::discussion(world, found, entry), "answer": answer})
        },
    );
    stage.record(
        scene.repository,
        facts::discussion_answered(discussion, at),
        heard,
    );
    Ok(json!({ "id": discussion }))
}

/// The discussion and comment that are meant, or the newest, or new ones.
fn choose_reply(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<(Id, Id), Refused> {
    let found = stage.repository(scene.repository)?;
    let all = found.discussions.iter().flat_map(|entry| {
        entry
            .comments
            .iter()
            .map(|comment| (entry.id, comment.id, entry.answer.map(|answer| answer.0)))
    });
    let fits = |(_, id, answer): &(Id, Id, Option<Id>)| {
        act.id.map_or(*answer != Some(*id), |want| want == *id)
    };
    match (all.filter(fits).last(), act.id) {
        (Some((discussion, id, _)), _) => Ok((discussion, id)),
        (None, Some(id)) => refused(format!("no discussion comment {id}")),
        (None, None) => reply(stage, scene, &Act::default()),
    }
}

fn edit_reply(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let (discussion, id) = choose_reply(stage, scene, act)?;
    let at = stage.at;
    let body = text(act, "Like this, or like that.");
    let entry = discussion_mut(stage, scene, discussion)?;
    if let Some(comment) = entry.comments.iter_mut().find(|comment| comment.id == id) {
        comment.body = body;
        comment.updated_at = at;
    }
    let changes = json!({"changes": {"body": {"from": "An earlier text"}}});
    let heard = announce_reply(stage, scene, "edited", discussion, id, changes);
    stage.record(
        scene.repository,
        facts::comment_edited("discussion_comment", id, at),
        heard,
    );
    Ok(json!({ "id": id }))
}

fn delete_reply(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let (discussion, id) = choose_reply(stage, scene, act)?;
    let heard = announce_reply(stage, scene, "deleted", discussion, id, json!({}));
    discussion_mut(stage, scene, discussion)?
        .comments
        .retain(|comment| comment.id != id);
    stage.record(
        scene.repository,
        facts::comment_deleted("discussion_comment", id),
        heard,
    );
    Ok(json!({ "id": id }))
}
