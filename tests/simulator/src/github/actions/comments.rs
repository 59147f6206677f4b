//! Comments on issues, pull requests and commits.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction, issue, reject};
use crate::github::facts;
use crate::github::render;
use crate::github::world::{Comment, Id, ObjectType};

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    event: &str,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match (event, action) {
        ("issue_comment", "created") => Ok(json!({"id": create(tx, context, params)?})),
        ("issue_comment", "edited") => edit(tx, context, params),
        ("issue_comment", "deleted") => delete(tx, context, params),
        ("commit_comment", "created") => comment_on_commit(tx, context, params),
        _ => reject(format!("unknown action {event}.{action}")),
    }
}

/// Body in the parameters, or a default.
pub(super) fn text(params: &ActionParams, default: &str) -> String {
    params.body.clone().unwrap_or_else(|| default.to_owned())
}

fn create(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<Id, ActionError> {
    let chosen = tx.choose_issue(context.repository, params.number, |_| true)?;
    let parent = match chosen {
        Some(id) => id,
        None => issue::open(tx, context, &ActionParams::default())?,
    };
    let id = tx.world.next_id(ObjectType::Comment);
    let at = tx.at;
    let body = text(params, "I can confirm this.");
    let repo = tx.repository_mut(context.repository)?;
    let on_pull = repo.issues.change(parent, |issue| {
        issue.comments += 1;
        issue.updated_at = at;
        issue.pull.is_some()
    });
    repo.comments.insert(Comment {
        id,
        issue: parent,
        user: context.actor,
        body,
        created_at: at,
        updated_at: at,
        facts: Vec::new(),
        rendered: OnceCell::new(),
    });
    let announced = announce(tx, context, "created", id, json!({}));
    let fact = facts::comment_created(id, on_pull.unwrap_or(false));
    let seq = tx.record(context.repository, fact, announced);
    tx.repository_mut(context.repository)?
        .comments
        .change(id, |comment| comment.facts.push(seq));
    Ok(id)
}

fn announce(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &'static str,
    id: Id,
    extra: Value,
) -> bool {
    tx.announce(
        context.repository,
        "issue_comment",
        Some(action),
        context.actor,
        |world, repo| {
            let mut body = extra;
            let Some(comment) = repo.comments.get(id) else {
                return body;
            };
            let Some(issue) = repo.issues.get(comment.issue) else {
                return body;
            };
            body["comment"] = render::comment(world, repo, issue, comment);
            body["issue"] = render::issue(world, repo, issue);
            body
        },
    )
}

/// Comment in the parameters, or the newest, or a new one.
fn choose(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<Id, ActionError> {
    let repo = tx.repository(context.repository)?;
    if let Some(id) = params.id {
        let known = repo.comments.get(id).map(|comment| comment.id);
        return known.ok_or_else(|| ActionError(format!("unknown comment {id}")));
    }
    let newest = repo.comments.newest().next().map(|comment| comment.id);
    match newest {
        Some(id) => Ok(id),
        None => create(tx, context, &ActionParams::default()),
    }
}

fn edit(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let id = choose(tx, context, params)?;
    let at = tx.at;
    let body = text(params, "I can confirm this on two machines.");
    tx.repository_mut(context.repository)?
        .comments
        .change(id, |comment| {
            comment.body.clone_from(&body);
            comment.updated_at = at;
        });
    let changes = json!({"changes": {"body": {"from": "An earlier text"}}});
    let announced = announce(tx, context, "edited", id, changes);
    tx.record(
        context.repository,
        facts::comment_edited("comment", id, at, &body),
        announced,
    );
    Ok(json!({ "id": id }))
}

fn delete(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let id = choose(tx, context, params)?;
    let announced = announce(tx, context, "deleted", id, json!({}));
    let repo = tx.repository_mut(context.repository)?;
    let removed = repo.comments.remove(id);
    if let Some(comment) = &removed {
        repo.issues.change(comment.issue, |issue| {
            issue.comments = issue.comments.saturating_sub(1);
        });
    }
    tx.hub
        .core
        .ledger
        .hide(&removed.map(|comment| comment.facts).unwrap_or_default());
    tx.record(
        context.repository,
        facts::comment_deleted("comment", id),
        announced,
    );
    Ok(json!({ "id": id }))
}

fn comment_on_commit(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = tx.world.next_id(ObjectType::CommitComment);
    let at = tx.at;
    let body = text(params, "Why this way?");
    let sha = tx
        .repository(context.repository)?
        .commits
        .last()
        .map(|commit| commit.sha.clone());
    let Some(sha) = sha else {
        return reject("the repository is empty");
    };
    let author = context.actor;
    let announced = tx.announce(context.repository, "commit_comment", Some("created"), author, |world, repo| {
        json!({"comment": render::commit_comment(world, repo, &sha, (id, author, &body, at))})
    });
    tx.record(context.repository, facts::commit_commented(id), announced);
    Ok(json!({ "id": id }))
}
