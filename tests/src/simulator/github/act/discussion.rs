//! Discussions: asked, replied to, answered.

use serde_json::{Value, json};

use super::talk::text;
use super::{Act, Outcome, Refused, Scene, Stage, refused, title};
use crate::simulator::github::facts;
use crate::simulator::github::render;
use crate::simulator::github::world::{Discussion, DiscussionComment, Id, Numbered};

pub(super) fn perform(
    stage: &mut Stage<'_>,
    scene: Scene,
    event: &str,
    action: &str,
    act: &Act,
) -> Outcome {
    match (event, action) {
        ("discussion", "created") => Ok(json!({"id": discuss(stage, scene, act)?})),
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
    let (discussion, comment) = if let Some(found) = open {
        found
    } else {
        let id = match act.number {
            Some(number) => any_discussion(stage, scene, Some(number))?,
            None => discuss(stage, scene, &Act::default())?,
        };
        let number = Some(discussion_mut(stage, scene, id)?.number);
        let here = Act {
            number,
            ..Act::default()
        };
        reply(stage, scene, &here)?
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
    let mut all = found.discussions.iter().flat_map(|entry| {
        entry
            .comments
            .iter()
            .map(|comment| (entry.id, comment.id, entry.answer.map(|answer| answer.0)))
    });
    let fits = |(_, id, answer): &(Id, Id, Option<Id>)| {
        act.id.map_or(*answer != Some(*id), |want| want == *id)
    };
    match (all.rfind(fits), act.id) {
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
        comment.body.clone_from(&body);
        comment.updated_at = at;
    }
    let changes = json!({"changes": {"body": {"from": "An earlier text"}}});
    let heard = announce_reply(stage, scene, "edited", discussion, id, changes);
    stage.record(
        scene.repository,
        facts::comment_edited("discussion_comment", id, at, &body),
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
