//! Pull requests: opened, pushed to, merged, closed, edited.

use serde_json::{Value, json};

use super::issue::{choose_label, edit_changes, new_issue};
use super::{
    ActionContext, ActionError, ActionParams, Outcome, Transaction, code, random_title, reject,
};
use crate::github::facts::{self, Discriminator, Fact};
use crate::github::render;
use crate::github::world::{Id, Issue, ObjectType, Pull};

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match action {
        "opened" => {
            let id = open(tx, context, params)?;
            pull_result(tx, context, id)
        }
        "merged" => close(tx, context, true, params),
        "closed" => close(tx, context, false, params),
        "reopened" => reopen(tx, context, params),
        "ready_for_review" => mark_ready(tx, context, params),
        "review_requested" => request_review(tx, context, params),
        "synchronize" => synchronize(tx, context, params),
        "labeled"
        | "unlabeled"
        | "assigned"
        | "unassigned"
        | "milestoned"
        | "demilestoned"
        | "edited"
        | "locked"
        | "unlocked"
        | "converted_to_draft"
        | "auto_merge_enabled"
        | "auto_merge_disabled"
        | "review_request_removed" => update(tx, context, action, params),
        _ => reject(format!("unknown action pull_request.{action}")),
    }
}

/// Pull request in the parameters, or a random match, or a new one.
pub(super) fn choose_or_open(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
    matches: impl Fn(&Issue, &Pull) -> bool,
) -> Result<Id, ActionError> {
    let chosen = tx.choose_issue(context.repository, params.number, |issue| {
        issue.pull.as_ref().is_some_and(|pull| matches(issue, pull))
    })?;
    match chosen {
        Some(id) => Ok(id),
        None => open(tx, context, &ActionParams::default()),
    }
}

pub(super) fn is_open(issue: &Issue, _: &Pull) -> bool {
    issue.closed_at.is_none()
}

/// Id of the pull request of an issue.
pub(super) fn pull_id(
    tx: &Transaction<'_>,
    context: ActionContext,
    id: Id,
) -> Result<Id, ActionError> {
    let issue = tx.repository(context.repository)?.issues.get(id);
    let pull = issue.and_then(|issue| issue.pull.as_ref());
    pull.map(|pull| pull.id)
        .ok_or_else(|| ActionError("the pull request no longer exists".to_owned()))
}

fn open(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<Id, ActionError> {
    let id = tx.world.next_id(ObjectType::Issue);
    let pull_id = tx.world.next_id(ObjectType::Pull);
    let head_sha = tx.world.random_sha();
    let title = params.title.clone().unwrap_or_else(|| random_title(tx));
    let at = tx.at;
    let repo = tx.repository_mut(context.repository)?;
    let number = repo.take_number();
    let head_ref = params
        .branch
        .clone()
        .unwrap_or_else(|| format!("change-{number}"));
    let mut issue = new_issue(id, number, title, params.body.clone(), context.actor, at);
    issue.pull = Some(Box::new(Pull {
        id: pull_id,
        head_ref,
        head_sha,
        base_ref: "main".to_owned(),
        base_sha: repo.head("main").unwrap_or_default().to_owned(),
        draft: params.state.as_deref() == Some("draft"),
        merged_at: None,
        merged_by: None,
        merge_sha: None,
        auto_merge: None,
        reviewers: Vec::new(),
        team_requested: false,
        review_comments: 0,
        commits: 1,
        reviews: Vec::new(),
    }));
    tx.add_issue(context.repository, issue)?;
    let announced = announce(tx, context, "opened", id, json!({}));
    let fact = facts::pr_opened(pull_id);
    tx.record_opened(context, id, fact, announced)?;
    Ok(id)
}

fn announce(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &'static str,
    id: Id,
    extra: Value,
) -> bool {
    tx.announce(context, "pull_request", Some(action), |world, repo| {
        let mut body = extra;
        if let Some(issue) = repo.issues.get(id) {
            body["number"] = json!(issue.number);
            body["pull_request"] = render::pull(world, repo, issue);
        }
        body
    })
}

fn pull_result(tx: &Transaction<'_>, context: ActionContext, id: Id) -> Outcome {
    let number = tx.issue_number(context.repository, id)?;
    Ok(json!({"id": pull_id(tx, context, id)?, "number": number}))
}

/// Changes a pull request, sends its event and records the fact.
fn change(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    id: Id,
    action: &'static str,
    extra: Value,
    fact: Fact,
    apply: impl FnOnce(&mut Issue, &mut Pull),
) -> Outcome {
    let at = tx.at;
    tx.repository_mut(context.repository)?
        .issues
        .change(id, |issue| {
            issue.updated_at = at;
            if let Some(mut pull) = issue.pull.take() {
                apply(issue, &mut pull);
                issue.pull = Some(pull);
            }
        });
    let announced = announce(tx, context, action, id, extra);
    tx.record(context, fact, announced);
    pull_result(tx, context, id)
}

fn close(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    merge: bool,
    params: &ActionParams,
) -> Outcome {
    let id = choose_or_open(tx, context, params, is_open)?;
    let pull_id = pull_id(tx, context, id)?;
    let (at, actor) = (tx.at, context.actor);
    let commit = if merge {
        Some(code::commit_to(
            tx,
            context,
            "main",
            "Merge a pull request",
        )?)
    } else {
        None
    };
    let repo = tx.repository_mut(context.repository)?;
    repo.count_closed();
    let merged = commit.as_ref().map(|(_, after)| after.clone());
    repo.issues.change(id, |issue| {
        issue.updated_at = at;
        issue.closed_at = Some(at);
        issue.closed_by = Some(actor);
        if let (Some(pull), Some(sha)) = (issue.pull.as_mut(), merged) {
            pull.merged_at = Some(at);
            pull.merged_by = Some(actor);
            pull.merge_sha = Some(sha);
        }
    });
    let announced = announce(tx, context, "closed", id, json!({}));
    let fact = if merge {
        facts::pr_merged(pull_id)
    } else {
        facts::pr_closed(pull_id, at)
    };
    let seq = tx.record(context, fact, announced);
    tx.repository_mut(context.repository)?
        .issues
        .change(id, |issue| {
            issue.facts.push(seq);
            issue.closing = (!merge).then_some(seq);
        });
    if let Some((before, after)) = commit {
        code::announce_push(tx, context, "refs/heads/main", &before, &after)?;
    }
    pull_result(tx, context, id)
}

fn reopen(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let closed = tx.choose_issue(context.repository, params.number, |issue| {
        issue.closed_at.is_some()
            && issue
                .pull
                .as_ref()
                .is_some_and(|pull| pull.merged_at.is_none())
    })?;
    let Some(id) = closed else {
        close(tx, context, false, &ActionParams::default())?;
        return reopen(tx, context, params);
    };
    tx.count_reopened(context.repository, id)?;
    let fact = facts::pr_changed(
        pull_id(tx, context, id)?,
        "reopened",
        tx.at,
        Discriminator::None,
    );
    change(tx, context, id, "reopened", json!({}), fact, |issue, _| {
        issue.closed_at = None;
        issue.closed_by = None;
    })
}

fn mark_ready(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let chosen = tx.choose_issue(context.repository, params.number, |issue| {
        issue.closed_at.is_none() && issue.pull.as_ref().is_some_and(|pull| pull.draft)
    })?;
    let draft = ActionParams {
        state: Some("draft".to_owned()),
        ..ActionParams::default()
    };
    let id = match chosen {
        Some(id) => id,
        None => open(tx, context, &draft)?,
    };
    let fact = facts::pr_changed(
        pull_id(tx, context, id)?,
        "ready_for_review",
        tx.at,
        Discriminator::None,
    );
    change(
        tx,
        context,
        id,
        "ready_for_review",
        json!({}),
        fact,
        |_, pull| pull.draft = false,
    )
}

fn request_review(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = choose_or_open(tx, context, params, is_open)?;
    let pull = pull_id(tx, context, id)?;
    if params.team {
        let account = tx.world.accounts.get(&context.account);
        let Some(team) = account.and_then(|account| account.team.as_ref()) else {
            return reject("the account has no team");
        };
        let rendered = render::team(tx.world, tx.world.login(context.account), team);
        let fact = facts::pr_review_requested(pull, team.id, tx.at);
        let extra = json!({"requested_team": rendered});
        return change(
            tx,
            context,
            id,
            "review_requested",
            extra,
            fact,
            |_, pull| {
                pull.team_requested = true;
            },
        );
    }
    let reviewer = tx.choose_person(context.account, params.login.as_deref())?;
    let fact = facts::pr_review_requested(pull, reviewer, tx.at);
    let extra = json!({"requested_reviewer": render::user(tx.world, reviewer)});
    change(
        tx,
        context,
        id,
        "review_requested",
        extra,
        fact,
        |_, pull| {
            pull.reviewers.retain(|other| *other != reviewer);
            pull.reviewers.push(reviewer);
        },
    )
}

fn synchronize(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let id = choose_or_open(tx, context, params, is_open)?;
    let after = tx.world.random_sha();
    let issue = tx.repository(context.repository)?.issues.get(id);
    let before = issue
        .and_then(|issue| issue.pull.as_ref())
        .map(|pull| pull.head_sha.clone());
    let fact = facts::pr_changed(
        pull_id(tx, context, id)?,
        "synchronize",
        tx.at,
        Discriminator::None,
    );
    let extra = json!({"before": before, "after": after});
    change(tx, context, id, "synchronize", extra, fact, |_, pull| {
        pull.head_sha = after;
        pull.commits += 1;
    })
}

fn update(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    let id = choose_or_open(tx, context, params, is_open)?;
    let person = tx.choose_person(context.account, params.login.as_deref())?;
    let label = choose_label(tx, context, params.name.as_deref())?;
    let milestone = match action {
        "milestoned" | "demilestoned" => Some(super::repository::open_milestone(tx, context)?),
        _ => None,
    };
    let title = params.title.clone().unwrap_or_else(|| random_title(tx));
    let pull = tx.repository(context.repository)?.issues.get(id);
    let old_body = pull.and_then(|pull| pull.body.clone());
    let body = params.body.clone().or(old_body);
    let discriminator = match action {
        "labeled" | "unlabeled" => Discriminator::Part(label.id),
        "assigned" | "unassigned" | "review_request_removed" => Discriminator::Part(person),
        "edited" => Discriminator::Edited(&title, body.as_deref()),
        _ => milestone.map_or(Discriminator::None, Discriminator::Part),
    };
    let fact = facts::pr_changed(pull_id(tx, context, id)?, action, tx.at, discriminator);
    let repo = tx.repository(context.repository)?;
    let labels = render::labels(tx.world, repo, &[label.id]);
    let entry = repo
        .milestones
        .iter()
        .find(|entry| Some(entry.id) == milestone);
    let entry = entry.map(|entry| render::milestone(tx.world, repo, entry));
    let user = render::user(tx.world, person);
    let actor = context.actor;
    let (name, extra): (&'static str, Value) = match action {
        "labeled" => ("labeled", json!({"label": labels[0]})),
        "unlabeled" => ("unlabeled", json!({"label": labels[0]})),
        "assigned" => ("assigned", json!({"assignee": user})),
        "unassigned" => ("unassigned", json!({"assignee": user})),
        "milestoned" => ("milestoned", json!({"milestone": entry})),
        "demilestoned" => ("demilestoned", json!({"milestone": entry})),
        "locked" => ("locked", json!({})),
        "unlocked" => ("unlocked", json!({})),
        "converted_to_draft" => ("converted_to_draft", json!({})),
        "auto_merge_enabled" => ("auto_merge_enabled", json!({"reason": ""})),
        "auto_merge_disabled" => ("auto_merge_disabled", json!({"reason": ""})),
        "review_request_removed" => (
            "review_request_removed",
            json!({"requested_reviewer": user}),
        ),
        _ => ("edited", edit_changes(params)),
    };
    change(
        tx,
        context,
        id,
        name,
        extra,
        fact,
        |issue, pull| match name {
            "labeled" => issue.labels.push(label.id),
            "unlabeled" => issue.labels.retain(|other| *other != label.id),
            "assigned" => issue.assignees.push(person),
            "unassigned" => issue.assignees.retain(|other| *other != person),
            "milestoned" => issue.milestone = milestone,
            "demilestoned" => issue.milestone = None,
            "locked" => issue.locked = true,
            "unlocked" => issue.locked = false,
            "converted_to_draft" => pull.draft = true,
            "auto_merge_enabled" => pull.auto_merge = Some(actor),
            "auto_merge_disabled" => pull.auto_merge = None,
            "review_request_removed" => pull.reviewers.retain(|other| *other != person),
            _ => (issue.title, issue.body) = (title, body),
        },
    )
}
