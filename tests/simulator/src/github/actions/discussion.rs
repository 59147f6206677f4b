//! Discussions, their comments and answers.

use serde_json::{Value, json};

use super::post::text_changed;
use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction, random_title, reject};
use crate::github::facts;
use crate::github::render;
use crate::github::world::{Discussion, DiscussionComment, Id, ObjectType};

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    event: &str,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match (event, action) {
        ("discussion", "created") => Ok(json!({"id": create(tx, context, params)?})),
        ("discussion", "answered") => choose_answer(tx, context, params),
        ("discussion_comment", "created") => {
            let (_, id) = reply(tx, context, params)?;
            Ok(json!({ "id": id }))
        }
        ("discussion_comment", "edited") => edit_reply(tx, context, params),
        ("discussion_comment", "deleted") => delete_reply(tx, context, params),
        _ => reject(format!("unknown action {event}.{action}")),
    }
}

fn create(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<Id, ActionError> {
    let id = tx.world.next_id(ObjectType::Discussion);
    let at = tx.at;
    let title = params.title.clone().unwrap_or_else(|| random_title(tx));
    let body = params.text("How do you do this?");
    let repo = tx.repository_mut(context.repository)?;
    let number = repo.take_number();
    repo.discussions.push(Discussion {
        id,
        number,
        title,
        body,
        user: context.actor,
        created_at: at,
        updated_at: at,
        answer: None,
        comments: Vec::new(),
    });
    let fact = facts::discussion_created(id);
    tx.publish(context, "discussion", Some("created"), fact, |world, repo| {
        let discussion = repo.discussions.iter().find(|discussion| discussion.id == id);
        json!({"discussion": discussion.map(|discussion| render::discussion(world, repo, discussion))})
    });
    Ok(id)
}

/// Discussion with a number, or the newest, or a new one.
fn choose_discussion(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    number: Option<u32>,
) -> Result<Id, ActionError> {
    let repo = tx.repository(context.repository)?;
    let known = match number {
        Some(number) => repo
            .discussions
            .iter()
            .find(|discussion| discussion.number == number),
        None => repo.discussions.last(),
    };
    match (known.map(|discussion| discussion.id), number) {
        (Some(id), _) => Ok(id),
        (None, Some(number)) => reject(format!("unknown discussion #{number}")),
        (None, None) => create(tx, context, &ActionParams::default()),
    }
}

fn discussion_mut<'a>(
    tx: &'a mut Transaction<'_>,
    context: ActionContext,
    id: Id,
) -> Result<&'a mut Discussion, ActionError> {
    let repo = tx.repository_mut(context.repository)?;
    let discussion = repo
        .discussions
        .iter_mut()
        .find(|discussion| discussion.id == id);
    discussion.ok_or_else(|| ActionError("the discussion no longer exists".to_owned()))
}

fn reply(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<(Id, Id), ActionError> {
    let discussion = choose_discussion(tx, context, params.number)?;
    let id = tx.world.next_id(ObjectType::DiscussionComment);
    let (at, user) = (tx.at, context.actor);
    let body = params.text("Like this.");
    let entry = discussion_mut(tx, context, discussion)?;
    entry.updated_at = at;
    entry.comments.push(DiscussionComment {
        id,
        user,
        body,
        created_at: at,
        updated_at: at,
    });
    let announced = announce_reply(tx, context, "created", discussion, id, json!({}));
    tx.record(context, facts::discussion_commented(id), announced);
    Ok((discussion, id))
}

fn announce_reply(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &'static str,
    discussion: Id,
    id: Id,
    extra: Value,
) -> bool {
    tx.announce(
        context,
        "discussion_comment",
        Some(action),
        |world, repo| {
            let mut body = extra;
            let Some(entry) = repo.discussions.iter().find(|entry| entry.id == discussion) else {
                return body;
            };
            let comment = entry.comments.iter().find(|comment| comment.id == id);
            body["discussion"] = render::discussion(world, repo, entry);
            body["comment"] = comment.map_or(Value::Null, |comment| {
                render::discussion_comment(world, repo, entry, comment)
            });
            body
        },
    )
}

fn choose_answer(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let repo = tx.repository(context.repository)?;
    let open = repo.discussions.iter().rev().find(|entry| {
        entry.answer.is_none()
            && !entry.comments.is_empty()
            && params.number.is_none_or(|number| number == entry.number)
    });
    let open = open.and_then(|entry| entry.comments.last().map(|comment| (entry.id, comment.id)));
    let (discussion, comment) = if let Some(ids) = open {
        ids
    } else {
        let id = match params.number {
            Some(number) => choose_discussion(tx, context, Some(number))?,
            None => create(tx, context, &ActionParams::default())?,
        };
        let number = Some(discussion_mut(tx, context, id)?.number);
        let here = ActionParams {
            number,
            ..ActionParams::default()
        };
        reply(tx, context, &here)?
    };
    let (at, actor) = (tx.at, context.actor);
    let entry = discussion_mut(tx, context, discussion)?;
    entry.answer = Some((comment, at, actor));
    entry.updated_at = at;
    let fact = facts::discussion_answered(discussion, at);
    tx.publish(
        context,
        "discussion",
        Some("answered"),
        fact,
        |world, repo| {
            let Some(entry) = repo.discussions.iter().find(|entry| entry.id == discussion) else {
                return Value::Null;
            };
            let chosen = entry.comments.iter().find(|entry| entry.id == comment);
            let mut answer = chosen.map_or(Value::Null, |chosen| {
                render::discussion_comment(world, repo, entry, chosen)
            });
            if let Some(answer) = answer.as_object_mut() {
                answer.remove("reactions");
            }
            json!({"discussion": render::discussion(world, repo, entry), "answer": answer})
        },
    );
    Ok(json!({ "id": discussion }))
}

/// Discussion and comment in the parameters, or the newest, or new ones.
fn choose_reply(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<(Id, Id), ActionError> {
    let repo = tx.repository(context.repository)?;
    let mut all = repo.discussions.iter().flat_map(|entry| {
        entry
            .comments
            .iter()
            .map(|comment| (entry.id, comment.id, entry.answer.map(|answer| answer.0)))
    });
    let matches = |(_, id, answer): &(Id, Id, Option<Id>)| {
        params
            .id
            .map_or(*answer != Some(*id), |wanted| wanted == *id)
    };
    match (all.rfind(matches), params.id) {
        (Some((discussion, id, _)), _) => Ok((discussion, id)),
        (None, Some(id)) => reject(format!("unknown discussion comment {id}")),
        (None, None) => reply(tx, context, &ActionParams::default()),
    }
}

fn edit_reply(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let (discussion, id) = choose_reply(tx, context, params)?;
    let at = tx.at;
    let body = params.text("Like this, or like that.");
    let entry = discussion_mut(tx, context, discussion)?;
    if let Some(comment) = entry.comments.iter_mut().find(|comment| comment.id == id) {
        comment.body.clone_from(&body);
        comment.updated_at = at;
    }
    let announced = announce_reply(tx, context, "edited", discussion, id, text_changed());
    let fact = facts::comment_edited("discussion_comment", id, at, &body);
    tx.record(context, fact, announced);
    Ok(json!({ "id": id }))
}

fn delete_reply(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let (discussion, id) = choose_reply(tx, context, params)?;
    let announced = announce_reply(tx, context, "deleted", discussion, id, json!({}));
    discussion_mut(tx, context, discussion)?
        .comments
        .retain(|comment| comment.id != id);
    let fact = facts::comment_deleted("discussion_comment", id);
    tx.record(context, fact, announced);
    Ok(json!({ "id": id }))
}
