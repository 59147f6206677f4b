//! Issues: opened, closed, assigned, labelled, deleted, transferred.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{Act, Outcome, Refused, Scene, Stage, departure, refused, title};
use crate::simulator::github::facts::{self, Fact, Mark};
use crate::simulator::github::render;
use crate::simulator::github::world::{Id, Issue, Label, Milestone, Numbered};

pub(super) fn perform(stage: &mut Stage<'_>, scene: Scene, action: &str, act: &Act) -> Outcome {
    match action {
        "opened" => {
            let id = open(stage, scene, act)?;
            answer(stage, scene, id)
        }
        "closed" => close(stage, scene, act),
        "reopened" => reopen(stage, scene, act),
        "deleted" => departure::delete(stage, scene, act),
        "transferred" => departure::transfer(stage, scene, act),
        "assigned" => assign(stage, scene, act),
        "unassigned" => unassign(stage, scene, act),
        "labeled" | "unlabeled" => label(stage, scene, action == "labeled", act),
        "milestoned" | "demilestoned" => set_milestone(stage, scene, action == "milestoned", act),
        "edited" | "pinned" | "unpinned" | "locked" | "unlocked" | "typed" | "untyped" => {
            update(stage, scene, action, act)
        }
        _ => refused(format!("no action issues.{action}")),
    }
}

/// The issue the action is about; opens one if none fits.
pub(super) fn subject(
    stage: &mut Stage<'_>,
    scene: Scene,
    act: &Act,
    fits: impl Fn(&Issue) -> bool,
) -> Result<Id, Refused> {
    let found = stage.choose_issue(scene.repository, act.number, |issue| {
        issue.pull.is_none() && fits(issue)
    })?;
    match found {
        Some(id) => Ok(id),
        None => open(stage, scene, &Act::default()),
    }
}

pub(super) fn open(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<Id, Refused> {
    let id = stage.world.number(Numbered::Issue);
    let title = act.title.clone().unwrap_or_else(|| title(stage));
    let at = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    let number = found.take_number();
    found.numbers.insert(number, id);
    found.open_issues += 1;
    found.changed();
    found
        .issues
        .insert(blank(id, number, title, act.body.clone(), scene.actor, at));
    let heard = announce(stage, scene, "opened", id, json!({}));
    let seq = stage.record(scene.repository, facts::issue_created(id), heard);
    stage
        .repository_mut(scene.repository)?
        .issues
        .change(id, |issue| issue.facts.push(seq));
    Ok(id)
}

/// A fresh open issue.
pub(super) fn blank(
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

/// Sends an `issues` event about an issue.
pub(super) fn announce(
    stage: &mut Stage<'_>,
    scene: Scene,
    action: &'static str,
    id: Id,
    extra: Value,
) -> bool {
    stage.announce(
        scene.repository,
        "issues",
        Some(action),
        scene.actor,
        |world, found| {
            let mut body = extra;
            if let Some(issue) = found.issues.get(id) {
                body["issue"] = render::issue(world, found, issue);
            }
            body
        },
    )
}

fn answer(stage: &Stage<'_>, scene: Scene, id: Id) -> Outcome {
    let issue = stage.repository(scene.repository)?.issues.get(id);
    Ok(json!({"id": id, "number": issue.map(|issue| issue.number)}))
}

/// Changes an issue now, announces it and records the fact.
fn change(
    stage: &mut Stage<'_>,
    scene: Scene,
    id: Id,
    action: &'static str,
    extra: Value,
    fact: Fact,
    apply: impl FnOnce(&mut Issue, i64),
) -> Outcome {
    let at = stage.at;
    stage
        .repository_mut(scene.repository)?
        .issues
        .change(id, |issue| {
            issue.updated_at = at;
            apply(issue, at);
        });
    let heard = announce(stage, scene, action, id, extra);
    stage.record(scene.repository, fact, heard);
    answer(stage, scene, id)
}

fn close(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, |issue| issue.closed_at.is_none())?;
    let (at, actor) = (stage.at, scene.actor);
    let reason = if act.state.as_deref() == Some("not_planned") {
        "not_planned"
    } else {
        "completed"
    };
    let found = stage.repository_mut(scene.repository)?;
    found.open_issues = found.open_issues.saturating_sub(1);
    found.changed();
    found.issues.change(id, |issue| {
        issue.updated_at = at;
        issue.closed_at = Some(at);
        issue.closed_by = Some(actor);
        issue.state_reason = Some(reason);
    });
    let heard = announce(stage, scene, "closed", id, json!({}));
    let seq = stage.record(scene.repository, facts::issue_closed(id, at), heard);
    stage
        .repository_mut(scene.repository)?
        .issues
        .change(id, |issue| {
            issue.facts.push(seq);
            issue.closing = Some(seq);
        });
    answer(stage, scene, id)
}

fn reopen(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let closed = stage.choose_issue(scene.repository, act.number, |issue| {
        issue.pull.is_none() && issue.closed_at.is_some()
    })?;
    let Some(id) = closed else {
        close(stage, scene, &Act::default())?;
        return reopen(stage, scene, act);
    };
    let found = stage.repository_mut(scene.repository)?;
    found.open_issues += 1;
    found.changed();
    let hidden = found.issues.change(id, forget_closing).flatten();
    stage.hub.core.ledger.hide(hidden.as_slice());
    let fact = facts::issue_reopened(id, stage.at);
    change(stage, scene, id, "reopened", json!({}), fact, |issue, _| {
        issue.closed_at = None;
        issue.closed_by = None;
        issue.state_reason = Some("reopened");
    })
}

/// The ledger row of the last closing, which lists no longer show.
pub(super) fn forget_closing(issue: &mut Issue) -> Option<u64> {
    let closing = issue.closing.take()?;
    issue.facts.retain(|seq| *seq != closing);
    Some(closing)
}

fn assign(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, |_| true)?;
    let assignee = stage.choose_person(scene.account, act.login.as_deref())?;
    let extra = json!({"assignee": render::user(stage.world, assignee)});
    let fact = facts::issue_assignment(id, true, assignee, stage.at);
    change(stage, scene, id, "assigned", extra, fact, |issue, _| {
        issue.assignees.retain(|other| *other != assignee);
        issue.assignees.push(assignee);
    })
}

fn unassign(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let holding = stage.choose_issue(scene.repository, act.number, |issue| {
        issue.pull.is_none() && !issue.assignees.is_empty()
    })?;
    let Some(id) = holding else {
        assign(stage, scene, &Act::default())?;
        return unassign(stage, scene, act);
    };
    let first = stage
        .repository(scene.repository)?
        .issues
        .get(id)
        .and_then(|issue| issue.assignees.first().copied());
    let Some(assignee) = first else {
        return refused("nobody is assigned");
    };
    let extra = json!({"assignee": render::user(stage.world, assignee)});
    let fact = facts::issue_assignment(id, false, assignee, stage.at);
    change(stage, scene, id, "unassigned", extra, fact, |issue, _| {
        issue.assignees.retain(|other| *other != assignee);
    })
}

fn label(stage: &mut Stage<'_>, scene: Scene, add: bool, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, |_| true)?;
    let chosen = choose_label(stage, scene, act.name.as_deref())?;
    let rendered = render::labels(
        stage.world,
        stage.repository(scene.repository)?,
        &[chosen.id],
    );
    let action = if add { "labeled" } else { "unlabeled" };
    let fact = facts::issue_updated(id, action, stage.at, Mark::Part(chosen.id));
    change(
        stage,
        scene,
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

/// The label of this name (created if need be), or any.
pub(super) fn choose_label(
    stage: &mut Stage<'_>,
    scene: Scene,
    name: Option<&str>,
) -> Result<Label, Refused> {
    let name =
        name.unwrap_or_else(|| stage.one_of(&["bug", "documentation", "enhancement", "question"]));
    if let Some(label) = stage
        .repository(scene.repository)?
        .labels
        .iter()
        .find(|label| label.name == name)
    {
        return Ok(label.clone());
    }
    let label = Label {
        id: stage.world.number(Numbered::Label),
        name: name.to_owned(),
        color: "ededed".to_owned(),
    };
    stage
        .repository_mut(scene.repository)?
        .labels
        .push(label.clone());
    Ok(label)
}

fn set_milestone(stage: &mut Stage<'_>, scene: Scene, set: bool, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, |_| true)?;
    let present = stage
        .repository(scene.repository)?
        .issues
        .get(id)
        .and_then(|issue| issue.milestone);
    let milestone = match (set, present) {
        (false, None) => {
            set_milestone(
                stage,
                scene,
                true,
                &Act {
                    number: number_of(stage, scene, id)?,
                    ..Act::default()
                },
            )?;
            return set_milestone(
                stage,
                scene,
                false,
                &Act {
                    number: number_of(stage, scene, id)?,
                    ..Act::default()
                },
            );
        }
        (false, Some(present)) => present,
        (true, _) => super::repository::any_milestone(stage, scene)?,
    };
    let found = stage.repository(scene.repository)?;
    let entry: Option<&Milestone> = found.milestones.iter().find(|entry| entry.id == milestone);
    let rendered = entry.map(|entry| render::milestone(stage.world, found, entry));
    let action = if set { "milestoned" } else { "demilestoned" };
    let fact = facts::issue_updated(id, action, stage.at, Mark::Part(milestone));
    change(
        stage,
        scene,
        id,
        action,
        json!({"milestone": rendered}),
        fact,
        |issue, _| {
            issue.milestone = set.then_some(milestone);
        },
    )
}

fn number_of(stage: &Stage<'_>, scene: Scene, id: Id) -> Result<Option<u32>, Refused> {
    Ok(stage
        .repository(scene.repository)?
        .issues
        .get(id)
        .map(|issue| issue.number))
}

fn update(stage: &mut Stage<'_>, scene: Scene, action: &str, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, |_| true)?;
    let title = act.title.clone().unwrap_or_else(|| title(stage));
    let issue = stage.repository(scene.repository)?.issues.get(id);
    let former = issue.and_then(|issue| issue.body.clone());
    let body = act.body.clone().or(former);
    let mark = match action {
        "typed" | "untyped" => Mark::Part(scene.account),
        "edited" => Mark::Edited(&title, body.as_deref()),
        _ => Mark::None,
    };
    let fact = facts::issue_updated(id, action, stage.at, mark);
    let (name, extra): (&'static str, Value) = match action {
        "pinned" => ("pinned", json!({})),
        "unpinned" => ("unpinned", json!({})),
        "locked" => ("locked", json!({})),
        "unlocked" => ("unlocked", json!({})),
        "typed" => ("typed", json!({"type": issue_type(scene.account)})),
        "untyped" => ("untyped", json!({"type": issue_type(scene.account)})),
        _ => ("edited", edits(act)),
    };
    change(stage, scene, id, name, extra, fact, |issue, _| match name {
        "locked" => issue.locked = true,
        "unlocked" => issue.locked = false,
        "typed" => issue.kind = Some("Bug"),
        "untyped" => issue.kind = None,
        "edited" => (issue.title, issue.body) = (title, body),
        _ => {}
    })
}

/// What GitHub says of an edit: the former title, or body, or both.
pub(super) fn edits(act: &Act) -> Value {
    let mut changes = json!({});
    if act.title.is_some() || act.body.is_none() {
        changes["title"] = json!({"from": "An earlier title"});
    }
    if act.body.is_some() {
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
