//! Pushes, branches, tags, releases, deployments and workflow runs.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{Act, Outcome, Refused, Scene, Stage, refused, title};
use crate::simulator::github::facts;
use crate::simulator::github::render;
use crate::simulator::github::world::{Commit, Deployment, Id, Numbered, Release, Run};

const NOWHERE: &str = "0000000000000000000000000000000000000000";

pub(super) fn perform(
    stage: &mut Stage<'_>,
    scene: Scene,
    event: &str,
    action: &str,
    act: &Act,
) -> Outcome {
    match (event, action) {
        ("push", "") => push(stage, scene, act),
        ("create", "branch" | "tag") => create(stage, scene, action == "branch", act),
        ("delete", "branch" | "tag") => delete(stage, scene, action == "branch", act),
        ("release", "published") => Ok(json!({"id": publish(stage, scene, act)?})),
        ("release", "edited") => edit_release(stage, scene, act),
        ("release", "deleted") => delete_release(stage, scene, act),
        ("deployment_status", "created") => deploy(stage, scene, act),
        ("workflow_run", "completed") => run(stage, scene, act),
        ("workflow_run", "rerun") => rerun(stage, scene, act),
        _ => refused(format!("no action {event}.{action}")),
    }
}

/// Adds a commit to a branch; answers the branch's head before and after.
pub(super) fn commit_to(
    stage: &mut Stage<'_>,
    scene: Scene,
    branch: &str,
    message: &str,
) -> Result<(String, String), Refused> {
    let (sha, tree) = (stage.world.sha(), stage.world.sha());
    let at = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    let before = found.head(branch).map(str::to_owned);
    found.commits.push(Commit {
        sha: sha.clone(),
        tree,
        parent: before.clone(),
        message: message.to_owned(),
        author: scene.actor,
        at,
    });
    found.branches.insert(branch.to_owned(), sha.clone());
    found.pushed_at = at;
    found.changed();
    Ok((before.unwrap_or_else(|| NOWHERE.to_owned()), sha))
}

fn push(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let branch = act.branch.clone().unwrap_or_else(|| "main".to_owned());
    if stage.repository(scene.repository)?.head(&branch).is_none() {
        return refused(format!("no branch {branch}; use create.branch first"));
    }
    let mut first = None;
    let mut after = String::new();
    for _ in 0..act.commits.unwrap_or(1).clamp(1, 2_048) {
        let message = act.title.clone().unwrap_or_else(|| title(stage));
        let (before, head) = commit_to(stage, scene, &branch, &message)?;
        first.get_or_insert(before);
        after = head;
    }
    let before = first.unwrap_or_default();
    announce_push(
        stage,
        scene,
        &format!("refs/heads/{branch}"),
        &before,
        &after,
    )?;
    Ok(json!({"before": before, "after": after}))
}

/// Sends a push event for what lies between two commits, and records it if it
/// brings commits to a branch.
pub(super) fn announce_push(
    stage: &mut Stage<'_>,
    scene: Scene,
    full_ref: &str,
    before: &str,
    after: &str,
) -> Result<(), Refused> {
    let found = stage.repository(scene.repository)?;
    let mut commits: Vec<Commit> = Vec::new();
    let mut cursor = Some(after);
    while let Some(sha) =
        cursor.filter(|sha| *sha != before && *sha != NOWHERE && before != NOWHERE)
    {
        let commit = found.commits.iter().rev().find(|commit| commit.sha == sha);
        let Some(commit) = commit else { break };
        commits.push(commit.clone());
        cursor = commit.parent.as_deref();
    }
    commits.reverse();
    let head = found
        .commits
        .iter()
        .rev()
        .find(|commit| commit.sha == after)
        .cloned();
    let (created, deleted) = (before == NOWHERE, after == NOWHERE);
    let heard = stage.announce(scene.repository, "push", None, scene.actor, |world, found| {
        let login = world.login(scene.actor);
        let page = render::repository_page(world, found);
        let rendered: Vec<Value> =
            commits.iter().map(|commit| render::commit_in_push(world, found, commit)).collect();
        // In this event alone, GitHub writes two of the repository's dates as numbers.
        let mut repository = render::repository(world, found);
        repository["created_at"] = json!(found.created_at);
        repository["pushed_at"] = json!(found.pushed_at);
        repository["stargazers"] = json!(found.stars.len());
        repository["master_branch"] = json!("main");
        json!({
            "ref": full_ref, "before": before, "after": after,
            "created": created, "deleted": deleted, "forced": false, "base_ref": null,
            "compare": format!("{page}/compare/{}...{}", short(before), short(after)),
            "commits": rendered,
            "head_commit": head.as_ref().filter(|_| !deleted)
                .map(|commit| render::commit_in_push(world, found, commit)),
            "pusher": {"name": login, "email": format!("{}@users.noreply.example", scene.actor)},
            "repository": repository,
        })
    });
    if full_ref.starts_with("refs/heads/") && !commits.is_empty() {
        stage.record(
            scene.repository,
            facts::commits_pushed(scene.repository, full_ref, after),
            heard,
        );
    }
    Ok(())
}

fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}

fn create(stage: &mut Stage<'_>, scene: Scene, branch: bool, act: &Act) -> Outcome {
    let name = match act.name.clone().or_else(|| act.branch.clone()) {
        Some(name) => name,
        None if branch => format!("topic-{}", &stage.world.sha()[..8]),
        None => format!("v0.{}", &stage.world.sha()[..6]),
    };
    let found = stage.repository_mut(scene.repository)?;
    let head = found.head("main").unwrap_or_default().to_owned();
    let taken = if branch {
        &mut found.branches
    } else {
        &mut found.tags
    };
    if taken.insert(name.clone(), head.clone()).is_some() {
        return refused(format!("{name} exists already"));
    }
    announce_reference(stage, scene, "create", branch, &name, true);
    let full_ref = format!("refs/{}/{name}", if branch { "heads" } else { "tags" });
    announce_push(stage, scene, &full_ref, NOWHERE, &head)?;
    Ok(json!({"name": name, "sha": head}))
}

fn delete(stage: &mut Stage<'_>, scene: Scene, branch: bool, act: &Act) -> Outcome {
    let found = stage.repository(scene.repository)?;
    let all = if branch { &found.branches } else { &found.tags };
    let known = match &act.name {
        Some(name) => all.get_key_value(name),
        None => all.iter().rfind(|(name, _)| name.as_str() != "main"),
    };
    let Some((name, sha)) = known.map(|(name, sha)| (name.clone(), sha.clone())) else {
        if act.name.is_some() {
            return refused("no such branch or tag");
        }
        create(stage, scene, branch, &Act::default())?;
        return delete(stage, scene, branch, act);
    };
    let found = stage.repository_mut(scene.repository)?;
    let all = if branch {
        &mut found.branches
    } else {
        &mut found.tags
    };
    all.remove(&name);
    announce_reference(stage, scene, "delete", branch, &name, false);
    let full_ref = format!("refs/{}/{name}", if branch { "heads" } else { "tags" });
    announce_push(stage, scene, &full_ref, &sha, NOWHERE)?;
    Ok(json!({"name": name, "sha": sha}))
}

fn announce_reference(
    stage: &mut Stage<'_>,
    scene: Scene,
    event: &'static str,
    branch: bool,
    name: &str,
    created: bool,
) {
    let ref_type = if branch { "branch" } else { "tag" };
    let heard = stage.announce(scene.repository, event, None, scene.actor, |_, found| {
        let mut body = json!({"ref": name, "ref_type": ref_type, "pusher_type": "user"});
        if created {
            body["master_branch"] = json!("main");
            body["description"] = json!(format!("The {} project", found.name));
        }
        body
    });
    let fact = facts::reference(ref_type, scene.repository, name, created);
    stage.record(scene.repository, fact, heard);
}

fn publish(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<Id, Refused> {
    let id = stage.world.number(Numbered::Release);
    let at = stage.at;
    let tag = act
        .name
        .clone()
        .unwrap_or_else(|| format!("v1.{}", id % 100_000));
    let name = match &act.title {
        Some(title) => Some(title.clone()),
        // GitHub sends an empty name for a release that was given none.
        None => Some(if stage.chance(0.2) {
            String::new()
        } else {
            format!("Release {tag}")
        }),
    };
    let found = stage.repository_mut(scene.repository)?;
    let head = found.head("main").unwrap_or_default().to_owned();
    found.tags.insert(tag.clone(), head);
    found.releases.insert(Release {
        id,
        tag,
        name,
        body: act
            .body
            .clone()
            .unwrap_or_else(|| "Fixes and improvements.".to_owned()),
        target: "main".to_owned(),
        prerelease: act.state.as_deref() == Some("prerelease"),
        author: scene.actor,
        created_at: at,
        updated_at: at,
        published_at: at,
        facts: Vec::new(),
        rendered: OnceCell::new(),
    });
    announce_release(stage, scene, "created", id, json!({}));
    let heard = announce_release(stage, scene, "published", id, json!({}));
    announce_release(stage, scene, "released", id, json!({}));
    let seq = stage.record(scene.repository, facts::release_published(id), heard);
    stage
        .repository_mut(scene.repository)?
        .releases
        .change(id, |release| release.facts.push(seq));
    Ok(id)
}

fn announce_release(
    stage: &mut Stage<'_>,
    scene: Scene,
    action: &'static str,
    id: Id,
    extra: Value,
) -> bool {
    stage.announce(
        scene.repository,
        "release",
        Some(action),
        scene.actor,
        |world, found| {
            let mut body = extra;
            let release = found.releases.get(id);
            body["release"] = release.map_or(Value::Null, |release| {
                render::release(world, found, release)
            });
            body
        },
    )
}

/// The release that is meant, or the newest, or a new one.
fn choose_release(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<Id, Refused> {
    let found = stage.repository(scene.repository)?;
    if let Some(id) = act.id {
        let known = found.releases.get(id).map(|release| release.id);
        return known.ok_or_else(|| Refused(format!("no release {id}")));
    }
    let newest = found.releases.newest().next().map(|release| release.id);
    match newest {
        Some(id) => Ok(id),
        None => publish(stage, scene, &Act::default()),
    }
}

fn edit_release(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = choose_release(stage, scene, act)?;
    let at = stage.at;
    let body = act
        .body
        .clone()
        .unwrap_or_else(|| "More fixes and improvements.".to_owned());
    stage
        .repository_mut(scene.repository)?
        .releases
        .change(id, |release| {
            release.body = body;
            release.updated_at = at;
        });
    let changes = json!({"changes": {"body": {"from": "An earlier text"}}});
    let heard = announce_release(stage, scene, "edited", id, changes);
    stage.record(scene.repository, facts::release_edited(id, at), heard);
    Ok(json!({ "id": id }))
}

fn delete_release(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = choose_release(stage, scene, act)?;
    let heard = announce_release(stage, scene, "deleted", id, json!({}));
    let removed = stage.repository_mut(scene.repository)?.releases.remove(id);
    stage
        .hub
        .core
        .ledger
        .hide(&removed.map(|release| release.facts).unwrap_or_default());
    stage.record(scene.repository, facts::release_deleted(id), heard);
    Ok(json!({ "id": id }))
}

fn deploy(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    const STATES: [&str; 7] = [
        "success",
        "failure",
        "error",
        "pending",
        "in_progress",
        "queued",
        "waiting",
    ];
    let state = match &act.state {
        None => stage.one_of(&["success", "success", "failure", "in_progress"]),
        Some(wanted) => match STATES.into_iter().find(|state| state == wanted) {
            Some(state) => state,
            None => return refused(format!("no deployment state {wanted}")),
        },
    };
    let deployment = stage.world.number(Numbered::Deployment);
    let id = stage.world.number(Numbered::DeploymentStatus);
    let (at, creator) = (stage.at, scene.actor);
    let environment = act.name.clone().unwrap_or_else(|| "production".to_owned());
    let found = stage.repository_mut(scene.repository)?;
    let sha = found.head("main").unwrap_or_default().to_owned();
    found.deployments.push(Deployment {
        id: deployment,
        environment,
        sha,
        branch: "main".to_owned(),
        creator,
        created_at: at,
        updated_at: at,
    });
    let heard = stage.announce(scene.repository, "deployment_status", Some("created"), creator, |world, found| {
        let Some(entry) = found.deployments.iter().find(|entry| entry.id == deployment) else { return Value::Null };
        json!({
            "deployment": render::deployment(world, found, entry),
            "deployment_status": render::deployment_status(world, found, entry, (id, state, creator, at)),
            "check_run": null, "workflow": null, "workflow_run": null,
        })
    });
    stage.record(scene.repository, facts::deployment_status(id), heard);
    Ok(json!({"id": id, "deployment": deployment}))
}

fn conclusion(stage: &mut Stage<'_>, wanted: Option<&str>) -> Result<&'static str, Refused> {
    const ALL: [&str; 8] = [
        "success",
        "failure",
        "neutral",
        "cancelled",
        "timed_out",
        "action_required",
        "stale",
        "skipped",
    ];
    match wanted {
        None => Ok(stage.one_of(&["success", "success", "success", "failure", "cancelled"])),
        Some(wanted) => {
            let known = ALL.into_iter().find(|known| *known == wanted);
            known.ok_or_else(|| Refused(format!("no conclusion {wanted}")))
        }
    }
}

fn run(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let conclusion = conclusion(stage, act.state.as_deref())?;
    let id = stage.world.number(Numbered::Run);
    let title = act.title.clone().unwrap_or_else(|| title(stage));
    let (at, actor) = (stage.at, scene.actor);
    let found = stage.repository_mut(scene.repository)?;
    found.last_run += 1;
    let number = found.last_run;
    let sha = found.head("main").unwrap_or_default().to_owned();
    found.runs.insert(Run {
        id,
        number,
        attempt: 1,
        event: "push",
        branch: "main".to_owned(),
        sha,
        title,
        actor,
        triggering_actor: actor,
        conclusion: Some(conclusion),
        created_at: at,
        started_at: at,
        updated_at: at,
        facts: Vec::new(),
        rendered: OnceCell::new(),
    });
    complete(stage, scene, id, 1)
}

/// Runs a run again: its list entry now shows the new attempt alone.
fn rerun(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let found = stage.repository(scene.repository)?;
    let known = match act.id {
        Some(id) => found.runs.get(id).map(|run| run.id),
        None => found.runs.newest().next().map(|run| run.id),
    };
    let Some(id) = known else {
        if act.id.is_some() {
            return refused("no such run");
        }
        run(stage, scene, &Act::default())?;
        return rerun(stage, scene, act);
    };
    let conclusion = conclusion(stage, act.state.as_deref())?;
    let (at, actor) = (stage.at, scene.actor);
    let changed = stage
        .repository_mut(scene.repository)?
        .runs
        .change(id, |run| {
            run.attempt += 1;
            run.triggering_actor = actor;
            run.conclusion = Some(conclusion);
            run.started_at = at;
            run.updated_at = at;
            (run.attempt, std::mem::take(&mut run.facts))
        });
    let Some((attempt, hidden)) = changed else {
        return refused("the run is gone");
    };
    stage.hub.core.ledger.hide(&hidden);
    complete(stage, scene, id, attempt)
}

fn complete(stage: &mut Stage<'_>, scene: Scene, id: Id, attempt: u32) -> Outcome {
    let heard = stage.announce(
        scene.repository,
        "workflow_run",
        Some("completed"),
        scene.actor,
        |world, found| {
            let run = found.runs.get(id).map(|run| render::run(world, found, run));
            json!({"workflow_run": run, "workflow": render::workflow(world, found)})
        },
    );
    let seq = stage.record(
        scene.repository,
        facts::workflow_completed(id, attempt),
        heard,
    );
    stage
        .repository_mut(scene.repository)?
        .runs
        .change(id, |run| run.facts.push(seq));
    Ok(json!({"id": id, "attempt": attempt}))
}
