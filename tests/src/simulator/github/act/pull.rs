//! Pull requests: opened, pushed to, merged, closed, and every smaller change.

use serde_json::{Value, json};

use super::issue::{blank, choose_label, edits, forget_closing};
use super::{Act, Outcome, Refused, Scene, Stage, code, refused, title};
use crate::simulator::github::facts::{self, Fact, Mark};
use crate::simulator::github::render;
use crate::simulator::github::world::{Id, Issue, Numbered, Pull};

pub(super) fn perform(stage: &mut Stage<'_>, scene: Scene, action: &str, act: &Act) -> Outcome {
    match action {
        "opened" => {
            let id = open(stage, scene, act)?;
            answer(stage, scene, id)
        }
        "merged" => close(stage, scene, true, act),
        "closed" => close(stage, scene, false, act),
        "reopened" => reopen(stage, scene, act),
        "ready_for_review" => ready(stage, scene, act),
        "review_requested" => request_review(stage, scene, act),
        "synchronize" => synchronize(stage, scene, act),
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
        | "review_request_removed" => update(stage, scene, action, act),
        _ => refused(format!("no action pull_request.{action}")),
    }
}

/// The open pull request the action is about; opens one if none fits.
pub(super) fn subject(
    stage: &mut Stage<'_>,
    scene: Scene,
    act: &Act,
    fits: impl Fn(&Issue, &Pull) -> bool,
) -> Result<Id, Refused> {
    let found = stage.choose_issue(scene.repository, act.number, |issue| {
        issue.pull.as_ref().is_some_and(|pull| fits(issue, pull))
    })?;
    match found {
        Some(id) => Ok(id),
        None => open(stage, scene, &Act::default()),
    }
}

pub(super) fn is_open(issue: &Issue, _: &Pull) -> bool {
    issue.closed_at.is_none()
}

/// Id of the pull request behind an issue id.
pub(super) fn pull_id(stage: &Stage<'_>, scene: Scene, id: Id) -> Result<Id, Refused> {
    let issue = stage.repository(scene.repository)?.issues.get(id);
    let pull = issue.and_then(|issue| issue.pull.as_ref());
    pull.map(|pull| pull.id)
        .ok_or_else(|| Refused("the pull request is gone".to_owned()))
}

fn open(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<Id, Refused> {
    let id = stage.world.number(Numbered::Issue);
    let pull_id = stage.world.number(Numbered::Pull);
    let head_sha = stage.world.sha();
    let title = act.title.clone().unwrap_or_else(|| title(stage));
    let at = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    let number = found.take_number();
    let head_ref = act
        .branch
        .clone()
        .unwrap_or_else(|| format!("change-{number}"));
    let mut issue = blank(id, number, title, act.body.clone(), scene.actor, at);
    issue.pull = Some(Box::new(Pull {
        id: pull_id,
        head_ref,
        head_sha,
        base_ref: "main".to_owned(),
        base_sha: found.head("main").unwrap_or_default().to_owned(),
        draft: act.state.as_deref() == Some("draft"),
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
    found.numbers.insert(number, id);
    found.open_issues += 1;
    found.changed();
    found.issues.insert(issue);
    let heard = announce(stage, scene, "opened", id, json!({}));
    let seq = stage.record(scene.repository, facts::pr_opened(pull_id), heard);
    stage
        .repository_mut(scene.repository)?
        .issues
        .change(id, |issue| issue.facts.push(seq));
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
        "pull_request",
        Some(action),
        scene.actor,
        |world, found| {
            let mut body = extra;
            if let Some(issue) = found.issues.get(id) {
                body["number"] = json!(issue.number);
                body["pull_request"] = render::pull(world, found, issue);
            }
            body
        },
    )
}

fn answer(stage: &Stage<'_>, scene: Scene, id: Id) -> Outcome {
    let number = stage
        .repository(scene.repository)?
        .issues
        .get(id)
        .map(|issue| issue.number);
    Ok(json!({"id": pull_id(stage, scene, id)?, "number": number}))
}

/// Changes a pull request now, announces it and records the fact.
fn change(
    stage: &mut Stage<'_>,
    scene: Scene,
    id: Id,
    action: &'static str,
    extra: Value,
    fact: Fact,
    apply: impl FnOnce(&mut Issue, &mut Pull),
) -> Outcome {
    let at = stage.at;
    stage
        .repository_mut(scene.repository)?
        .issues
        .change(id, |issue| {
            issue.updated_at = at;
            if let Some(mut pull) = issue.pull.take() {
                apply(issue, &mut pull);
                issue.pull = Some(pull);
            }
        });
    let heard = announce(stage, scene, action, id, extra);
    stage.record(scene.repository, fact, heard);
    answer(stage, scene, id)
}

fn close(stage: &mut Stage<'_>, scene: Scene, merge: bool, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, is_open)?;
    let pull_id = pull_id(stage, scene, id)?;
    let (at, actor) = (stage.at, scene.actor);
    let commit = if merge {
        Some(code::commit_to(
            stage,
            scene,
            "main",
            "Merge a pull request",
        )?)
    } else {
        None
    };
    let found = stage.repository_mut(scene.repository)?;
    found.open_issues = found.open_issues.saturating_sub(1);
    found.changed();
    let merged = commit.as_ref().map(|(_, after)| after.clone());
    found.issues.change(id, |issue| {
        issue.updated_at = at;
        issue.closed_at = Some(at);
        issue.closed_by = Some(actor);
        if let (Some(pull), Some(sha)) = (issue.pull.as_mut(), merged) {
            pull.merged_at = Some(at);
            pull.merged_by = Some(actor);
            pull.merge_sha = Some(sha);
        }
    });
    let heard = announce(stage, scene, "closed", id, json!({}));
    let fact = if merge {
        facts::pr_merged(pull_id)
    } else {
        facts::pr_closed(pull_id, at)
    };
    let seq = stage.record(scene.repository, fact, heard);
    stage
        .repository_mut(scene.repository)?
        .issues
        .change(id, |issue| {
            issue.facts.push(seq);
            issue.closing = (!merge).then_some(seq);
        });
    if let Some((before, after)) = commit {
        code::announce_push(stage, scene, "refs/heads/main", &before, &after)?;
    }
    answer(stage, scene, id)
}

fn reopen(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let closed = stage.choose_issue(scene.repository, act.number, |issue| {
        issue.closed_at.is_some()
            && issue
                .pull
                .as_ref()
                .is_some_and(|pull| pull.merged_at.is_none())
    })?;
    let Some(id) = closed else {
        close(stage, scene, false, &Act::default())?;
        return reopen(stage, scene, act);
    };
    let found = stage.repository_mut(scene.repository)?;
    found.open_issues += 1;
    found.changed();
    let hidden = found.issues.change(id, forget_closing).flatten();
    stage.hub.core.ledger.hide(hidden.as_slice());
    let fact = facts::pr_changed(pull_id(stage, scene, id)?, "reopened", stage.at, Mark::None);
    change(stage, scene, id, "reopened", json!({}), fact, |issue, _| {
        issue.closed_at = None;
        issue.closed_by = None;
    })
}

fn ready(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let found = stage.choose_issue(scene.repository, act.number, |issue| {
        issue.closed_at.is_none() && issue.pull.as_ref().is_some_and(|pull| pull.draft)
    })?;
    let draft = Act {
        state: Some("draft".to_owned()),
        ..Act::default()
    };
    let id = match found {
        Some(id) => id,
        None => open(stage, scene, &draft)?,
    };
    let fact = facts::pr_changed(
        pull_id(stage, scene, id)?,
        "ready_for_review",
        stage.at,
        Mark::None,
    );
    change(
        stage,
        scene,
        id,
        "ready_for_review",
        json!({}),
        fact,
        |_, pull| pull.draft = false,
    )
}

fn request_review(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, is_open)?;
    let pull = pull_id(stage, scene, id)?;
    if act.team {
        let account = stage.world.accounts.get(&scene.account);
        let Some(team) = account.and_then(|account| account.team.as_ref()) else {
            return refused("the account has no team");
        };
        let rendered = render::team(stage.world, stage.world.login(scene.account), team);
        let fact = facts::pr_review_requested(pull, team.id, stage.at);
        let extra = json!({"requested_team": rendered});
        return change(
            stage,
            scene,
            id,
            "review_requested",
            extra,
            fact,
            |_, pull| {
                pull.team_requested = true;
            },
        );
    }
    let reviewer = stage.choose_person(scene.account, act.login.as_deref())?;
    let fact = facts::pr_review_requested(pull, reviewer, stage.at);
    let extra = json!({"requested_reviewer": render::user(stage.world, reviewer)});
    change(
        stage,
        scene,
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

fn synchronize(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, is_open)?;
    let after = stage.world.sha();
    let issue = stage.repository(scene.repository)?.issues.get(id);
    let before = issue
        .and_then(|issue| issue.pull.as_ref())
        .map(|pull| pull.head_sha.clone());
    let fact = facts::pr_changed(
        pull_id(stage, scene, id)?,
        "synchronize",
        stage.at,
        Mark::None,
    );
    let extra = json!({"before": before, "after": after});
    change(stage, scene, id, "synchronize", extra, fact, |_, pull| {
        pull.head_sha = after;
        pull.commits += 1;
    })
}

fn update(stage: &mut Stage<'_>, scene: Scene, action: &str, act: &Act) -> Outcome {
    let id = subject(stage, scene, act, is_open)?;
    let person = stage.choose_person(scene.account, act.login.as_deref())?;
    let label = choose_label(stage, scene, act.name.as_deref())?;
    let milestone = match action {
        "milestoned" | "demilestoned" => Some(super::repository::any_milestone(stage, scene)?),
        _ => None,
    };
    let title = act.title.clone().unwrap_or_else(|| title(stage));
    let pull = stage.repository(scene.repository)?.issues.get(id);
    let former = pull.and_then(|pull| pull.body.clone());
    let body = act.body.clone().or(former);
    let mark = match action {
        "labeled" | "unlabeled" => Mark::Part(label.id),
        "assigned" | "unassigned" | "review_request_removed" => Mark::Part(person),
        "edited" => Mark::Edited(&title, body.as_deref()),
        _ => milestone.map_or(Mark::None, Mark::Part),
    };
    let fact = facts::pr_changed(pull_id(stage, scene, id)?, action, stage.at, mark);
    let found = stage.repository(scene.repository)?;
    let labels = render::labels(stage.world, found, &[label.id]);
    let entry = found
        .milestones
        .iter()
        .find(|entry| Some(entry.id) == milestone);
    let entry = entry.map(|entry| render::milestone(stage.world, found, entry));
    let somebody = render::user(stage.world, person);
    let actor = scene.actor;
    let (name, extra): (&'static str, Value) = match action {
        "labeled" => ("labeled", json!({"label": labels[0]})),
        "unlabeled" => ("unlabeled", json!({"label": labels[0]})),
        "assigned" => ("assigned", json!({"assignee": somebody})),
        "unassigned" => ("unassigned", json!({"assignee": somebody})),
        "milestoned" => ("milestoned", json!({"milestone": entry})),
        "demilestoned" => ("demilestoned", json!({"milestone": entry})),
        "locked" => ("locked", json!({})),
        "unlocked" => ("unlocked", json!({})),
        "converted_to_draft" => ("converted_to_draft", json!({})),
        "auto_merge_enabled" => ("auto_merge_enabled", json!({"reason": ""})),
        "auto_merge_disabled" => ("auto_merge_disabled", json!({"reason": ""})),
        "review_request_removed" => (
            "review_request_removed",
            json!({"requested_reviewer": somebody}),
        ),
        _ => ("edited", edits(act)),
    };
    change(
        stage,
        scene,
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
