//! Issues: opened, closed, assigned, labelled, edited.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{
    ActionContext, ActionError, ActionParams, Outcome, Transaction, random_title, reject, removal,
};
use crate::github::facts::{self, Discriminator, Fact};
use crate::github::render;
use crate::github::world::{Id, Issue, Label, Milestone, ObjectType};

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match action {
        "opened" => {
            let id = open(tx, context, params)?;
            issue_result(tx, context, id)
        }
        "closed" => close(tx, context, params),
        "reopened" => reopen(tx, context, params),
        "deleted" => removal::delete(tx, context, params),
        "transferred" => removal::transfer(tx, context, params),
        "assigned" => assign(tx, context, params),
        "unassigned" => unassign(tx, context, params),
        "labeled" | "unlabeled" => label(tx, context, action == "labeled", params),
        "milestoned" | "demilestoned" => set_milestone(tx, context, action == "milestoned", params),
        "edited" | "pinned" | "unpinned" | "locked" | "unlocked" | "typed" | "untyped" => {
            update(tx, context, action, params)
        }
        _ => reject(format!("unknown action issues.{action}")),
    }
}

/// Issue in the parameters, or a random match, or a new one.
pub(super) fn choose_or_open(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
    matches: impl Fn(&Issue) -> bool,
) -> Result<Id, ActionError> {
    let chosen = tx.choose_issue(context.repository, params.number, |issue| {
        issue.pull.is_none() && matches(issue)
    })?;
    match chosen {
        Some(id) => Ok(id),
        None => open(tx, context, &ActionParams::default()),
    }
}

pub(super) fn open(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<Id, ActionError> {
    let id = tx.world.next_id(ObjectType::Issue);
    let title = params.title.clone().unwrap_or_else(|| random_title(tx));
    let at = tx.at;
    let number = tx.repository_mut(context.repository)?.take_number();
    let issue = new_issue(id, number, title, params.body.clone(), context.actor, at);
    tx.add_issue(context.repository, issue)?;
    let announced = announce(tx, context, "opened", id, json!({}));
    tx.record_opened(context, id, facts::issue_created(id), announced)?;
    Ok(id)
}

/// Creates an open issue.
pub(super) fn new_issue(
    id: Id,
    number: u32,
    title: String,
    body: Option<String>,
    user: Id,
    at: i64,
) -> Issue {
    Issue {
        id,
        number,
        title,
        body: Some(body.unwrap_or_else(|| "Steps to reproduce, expectation, result.".to_owned())),
        user,
        created_at: at,
        updated_at: at,
        closed_at: None,
        closed_by: None,
        state_reason: None,
        comments: 0,
        labels: Vec::new(),
        assignees: Vec::new(),
        milestone: None,
        locked: false,
        kind: None,
        pull: None,
        facts: Vec::new(),
        closing: None,
        listed_row: OnceCell::new(),
        pull_row: OnceCell::new(),
    }
}

/// Sends an `issues` event.
pub(super) fn announce(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &'static str,
    id: Id,
    extra: Value,
) -> bool {
    tx.announce(context, "issues", Some(action), |world, repo| {
        let mut body = extra;
        if let Some(issue) = repo.issues.get(id) {
            body["issue"] = render::issue(world, repo, issue);
        }
        body
    })
}

fn issue_result(tx: &Transaction<'_>, context: ActionContext, id: Id) -> Outcome {
    Ok(json!({"id": id, "number": tx.issue_number(context.repository, id)?}))
}

/// Changes an issue, sends its event and records the fact.
fn change(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    id: Id,
    action: &'static str,
    extra: Value,
    fact: Fact,
    apply: impl FnOnce(&mut Issue, i64),
) -> Outcome {
    let at = tx.at;
    tx.repository_mut(context.repository)?
        .issues
        .change(id, |issue| {
            issue.updated_at = at;
            apply(issue, at);
        });
    let announced = announce(tx, context, action, id, extra);
    tx.record(context, fact, announced);
    issue_result(tx, context, id)
}

fn close(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let id = choose_or_open(tx, context, params, |issue| issue.closed_at.is_none())?;
    let (at, actor) = (tx.at, context.actor);
    let reason = if params.state.as_deref() == Some("not_planned") {
        "not_planned"
    } else {
        "completed"
    };
    let repo = tx.repository_mut(context.repository)?;
    repo.count_closed();
    repo.issues.change(id, |issue| {
        issue.updated_at = at;
        issue.closed_at = Some(at);
        issue.closed_by = Some(actor);
        issue.state_reason = Some(reason);
    });
    let announced = announce(tx, context, "closed", id, json!({}));
    let seq = tx.record(context, facts::issue_closed(id, at), announced);
    tx.repository_mut(context.repository)?
        .issues
        .change(id, |issue| {
            issue.facts.push(seq);
            issue.closing = Some(seq);
        });
    issue_result(tx, context, id)
}

fn reopen(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let closed = tx.choose_issue(context.repository, params.number, |issue| {
        issue.pull.is_none() && issue.closed_at.is_some()
    })?;
    let Some(id) = closed else {
        close(tx, context, &ActionParams::default())?;
        return reopen(tx, context, params);
    };
    tx.count_reopened(context.repository, id)?;
    let fact = facts::issue_reopened(id, tx.at);
    change(tx, context, id, "reopened", json!({}), fact, |issue, _| {
        issue.closed_at = None;
        issue.closed_by = None;
        issue.state_reason = Some("reopened");
    })
}

fn assign(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let id = choose_or_open(tx, context, params, |_| true)?;
    let assignee = tx.choose_person(context.account, params.login.as_deref())?;
    let extra = json!({"assignee": render::user(tx.world, assignee)});
    let fact = facts::issue_assignment(id, true, assignee, tx.at);
    change(tx, context, id, "assigned", extra, fact, |issue, _| {
        issue.assignees.retain(|other| *other != assignee);
        issue.assignees.push(assignee);
    })
}

fn unassign(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let chosen = tx.choose_issue(context.repository, params.number, |issue| {
        issue.pull.is_none() && !issue.assignees.is_empty()
    })?;
    let Some(id) = chosen else {
        assign(tx, context, &ActionParams::default())?;
        return unassign(tx, context, params);
    };
    let first = tx
        .repository(context.repository)?
        .issues
        .get(id)
        .and_then(|issue| issue.assignees.first().copied());
    let Some(assignee) = first else {
        return reject("the issue has no assignee");
    };
    let extra = json!({"assignee": render::user(tx.world, assignee)});
    let fact = facts::issue_assignment(id, false, assignee, tx.at);
    change(tx, context, id, "unassigned", extra, fact, |issue, _| {
        issue.assignees.retain(|other| *other != assignee);
    })
}

fn label(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    add: bool,
    params: &ActionParams,
) -> Outcome {
    let id = choose_or_open(tx, context, params, |_| true)?;
    let chosen = choose_label(tx, context, params.name.as_deref())?;
    let rendered = render::labels(tx.world, tx.repository(context.repository)?, &[chosen.id]);
    let action = if add { "labeled" } else { "unlabeled" };
    let fact = facts::issue_updated(id, action, tx.at, Discriminator::Part(chosen.id));
    change(
        tx,
        context,
        id,
        action,
        json!({"label": rendered[0]}),
        fact,
        |issue, _| {
            issue.labels.retain(|other| *other != chosen.id);
            if add {
                issue.labels.push(chosen.id);
            }
        },
    )
}

/// Label with a name, created if necessary, or a random one.
pub(super) fn choose_label(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    name: Option<&str>,
) -> Result<Label, ActionError> {
    let name = name
        .unwrap_or_else(|| tx.choose_word(&["bug", "documentation", "enhancement", "question"]));
    if let Some(label) = tx
        .repository(context.repository)?
        .labels
        .iter()
        .find(|label| label.name == name)
    {
        return Ok(label.clone());
    }
    let label = Label {
        id: tx.world.next_id(ObjectType::Label),
        name: name.to_owned(),
        color: "ededed".to_owned(),
    };
    tx.repository_mut(context.repository)?
        .labels
        .push(label.clone());
    Ok(label)
}

fn set_milestone(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    set: bool,
    params: &ActionParams,
) -> Outcome {
    let id = choose_or_open(tx, context, params, |_| true)?;
    let current = tx
        .repository(context.repository)?
        .issues
        .get(id)
        .and_then(|issue| issue.milestone);
    let milestone = match (set, current) {
        (false, None) => {
            let here = ActionParams {
                number: tx.issue_number(context.repository, id)?,
                ..ActionParams::default()
            };
            set_milestone(tx, context, true, &here)?;
            return set_milestone(tx, context, false, &here);
        }
        (false, Some(current)) => current,
        (true, _) => super::repository::open_milestone(tx, context)?,
    };
    let repo = tx.repository(context.repository)?;
    let entry: Option<&Milestone> = repo.milestones.iter().find(|entry| entry.id == milestone);
    let rendered = entry.map(|entry| render::milestone(tx.world, repo, entry));
    let action = if set { "milestoned" } else { "demilestoned" };
    let fact = facts::issue_updated(id, action, tx.at, Discriminator::Part(milestone));
    change(
        tx,
        context,
        id,
        action,
        json!({"milestone": rendered}),
        fact,
        |issue, _| {
            issue.milestone = set.then_some(milestone);
        },
    )
}

fn update(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    let id = choose_or_open(tx, context, params, |_| true)?;
    let title = params.title.clone().unwrap_or_else(|| random_title(tx));
    let issue = tx.repository(context.repository)?.issues.get(id);
    let old_body = issue.and_then(|issue| issue.body.clone());
    let body = params.body.clone().or(old_body);
    let discriminator = match action {
        "typed" | "untyped" => Discriminator::Part(context.account),
        "edited" => Discriminator::Edited(&title, body.as_deref()),
        _ => Discriminator::None,
    };
    let fact = facts::issue_updated(id, action, tx.at, discriminator);
    let (name, extra): (&'static str, Value) = match action {
        "pinned" => ("pinned", json!({})),
        "unpinned" => ("unpinned", json!({})),
        "locked" => ("locked", json!({})),
        "unlocked" => ("unlocked", json!({})),
        "typed" => ("typed", json!({"type": issue_type(context.account)})),
        "untyped" => ("untyped", json!({"type": issue_type(context.account)})),
        _ => ("edited", edit_changes(params)),
    };
    change(tx, context, id, name, extra, fact, |issue, _| match name {
        "locked" => issue.locked = true,
        "unlocked" => issue.locked = false,
        "typed" => issue.kind = Some("Bug"),
        "untyped" => issue.kind = None,
        "edited" => (issue.title, issue.body) = (title, body),
        _ => {}
    })
}

/// `changes` of an edit event: the old title, body or both.
pub(super) fn edit_changes(params: &ActionParams) -> Value {
    let mut changes = json!({});
    if params.title.is_some() || params.body.is_none() {
        changes["title"] = json!({"from": "An earlier title"});
    }
    if params.body.is_some() {
        changes["body"] = json!({"from": "An earlier text"});
    }
    json!({ "changes": changes })
}

fn issue_type(account: Id) -> Value {
    json!({
        "id": account, "node_id": render::node_id("IssueType", account), "name": "Bug",
        "description": "An unexpected problem", "color": "red", "is_enabled": true,
        "created_at": "2026-01-05T09:00:00Z", "updated_at": "2026-01-05T09:00:00Z",
    })
}
