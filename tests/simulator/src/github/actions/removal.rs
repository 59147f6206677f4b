//! Issues that leave their repository: deletion and transfer.

use std::cell::OnceCell;

use serde_json::json;

use super::issue::{announce, choose_or_open};
use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction, reject};
use crate::github::facts;
use crate::github::render;
use crate::github::world::{Id, ObjectType};

pub(super) fn delete(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = choose_or_open(tx, context, params, |_| true)?;
    let announced = announce(tx, context, "deleted", id, json!({}));
    let repo = tx.repository_mut(context.repository)?;
    let Some(issue) = repo.issues.remove(id) else {
        return reject("the issue no longer exists");
    };
    repo.numbers.remove(&issue.number);
    if issue.closed_at.is_none() {
        repo.count_closed();
    }
    repo.invalidate_object();
    let mut hidden = issue.facts;
    let comments: Vec<Id> = repo
        .comments
        .iter()
        .filter(|comment| comment.issue == id)
        .map(|comment| comment.id)
        .collect();
    for comment in comments {
        hidden.extend(
            repo.comments
                .remove(comment)
                .map(|comment| comment.facts)
                .unwrap_or_default(),
        );
    }
    tx.service.core.ledger.hide(&hidden);
    tx.world
        .removed_issues
        .insert((context.repository, issue.number), None);
    tx.record(context, facts::issue_deleted(id), announced);
    Ok(json!({"id": id, "number": issue.number}))
}

/// Transfers an open issue to another repository of the account.
///
/// There it has a new id and number, and keeps its date and comments.
pub(super) fn transfer(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = choose_or_open(tx, context, params, |issue| issue.closed_at.is_none())?;
    let siblings = tx
        .world
        .accounts
        .get(&context.account)
        .map(|account| account.repositories.clone());
    let requested = params
        .to
        .as_ref()
        .and_then(|name| tx.world.repository_id(&params.account, name));
    let target = requested.or_else(|| {
        siblings
            .unwrap_or_default()
            .into_iter()
            .find(|other| *other != context.repository)
    });
    let Some(target) = target.filter(|target| *target != context.repository) else {
        return reject("the account has no other repository to transfer to");
    };
    let new_id = tx.world.next_id(ObjectType::Issue);
    let old_issue = issue_value(tx, context.repository, id)?;
    let old_repository = render::repository(tx.world, tx.repository(context.repository)?);
    let number = move_issue(tx, context, id, target, new_id)?;
    let target_context = ActionContext {
        repository: target,
        ..context
    };
    let transfer = json!({"changes": {
        "new_issue": issue_value(tx, target, new_id)?,
        "new_repository": render::repository(tx.world, tx.repository(target)?),
    }, "issue": old_issue});
    let fact = facts::issue_transferred(id);
    tx.publish(context, "issues", Some("transferred"), fact, |_, _| {
        transfer
    });
    let origin = json!({"changes": {"old_issue": old_issue, "old_repository": old_repository}});
    let announced = announce(tx, target_context, "opened", new_id, origin);
    tx.record_opened(
        target_context,
        new_id,
        facts::issue_created(new_id),
        announced,
    )?;
    Ok(json!({"id": id, "new_id": new_id, "number": number}))
}

fn issue_value(tx: &Transaction<'_>, repository: Id, id: Id) -> Outcome {
    let repo = tx.repository(repository)?;
    let issue = repo
        .issues
        .get(id)
        .ok_or_else(|| ActionError("the issue no longer exists".to_owned()))?;
    Ok(render::issue(tx.world, repo, issue))
}

/// Moves an issue and its comments to another repository.
fn move_issue(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    id: Id,
    target: Id,
    new_id: Id,
) -> Result<u32, ActionError> {
    let at = tx.at;
    let from = tx.repository_mut(context.repository)?;
    let Some(mut issue) = from.issues.remove(id) else {
        return reject("the issue no longer exists");
    };
    let old_number = issue.number;
    from.numbers.remove(&old_number);
    from.count_closed();
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
    tx.service.core.ledger.hide(&issue.facts);
    let to = tx.repository_mut(target)?;
    issue.id = new_id;
    issue.number = to.take_number();
    issue.updated_at = at;
    issue.facts.clear();
    issue.labels.clear();
    issue.milestone = None;
    issue.listed_row = OnceCell::new();
    let number = issue.number;
    tx.add_issue(target, issue)?;
    let to = tx.repository_mut(target)?;
    for mut comment in comments {
        comment.issue = new_id;
        comment.rendered = OnceCell::new();
        to.comments.insert(comment);
    }
    tx.world
        .removed_issues
        .insert((context.repository, old_number), Some((target, number)));
    Ok(number)
}
