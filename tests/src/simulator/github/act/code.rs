//! Pushes, branches and tags.

use serde_json::{Value, json};

use super::{Act, Outcome, Refused, Scene, Stage, refused, title};
use crate::simulator::github::facts;
use crate::simulator::github::render;
use crate::simulator::github::world::Commit;

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
        ("push", "reset") => reset(stage, scene, act),
        ("create", "branch" | "tag") => create(stage, scene, action == "branch", act),
        ("delete", "branch" | "tag") => delete(stage, scene, action == "branch", act),
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

/// Moves a branch to a commit that exists (`name`), or back to the one before its head.
fn reset(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let branch = act.branch.clone().unwrap_or_else(|| "main".to_owned());
    let at = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    let Some(before) = found.head(&branch).map(str::to_owned) else {
        return refused(format!("no branch {branch}; use create.branch first"));
    };
    let known = |sha: &str| found.commits.iter().find(|commit| commit.sha == sha);
    let parent = || known(&before)?.parent.clone();
    let wanted = match &act.name {
        Some(sha) => known(sha).map(|commit| commit.sha.clone()),
        None => parent(),
    };
    let Some(after) = wanted.filter(|sha| *sha != before) else {
        return refused("no other commit to move the branch to");
    };
    found.branches.insert(branch.clone(), after.clone());
    found.pushed_at = at;
    found.changed();
    let full_ref = format!("refs/heads/{branch}");
    announce_push(stage, scene, &full_ref, &before, &after)?;
    Ok(json!({"before": before, "after": after}))
}

/// Sends a push event for what lies between two commits, and records it if it
/// brings commits to a branch or throws one back.
pub(super) fn announce_push(
    stage: &mut Stage<'_>,
    scene: Scene,
    full_ref: &str,
    before: &str,
    after: &str,
) -> Result<(), Refused> {
    let found = stage.repository(scene.repository)?;
    let pushed_at = found.pushed_at;
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
    let (created, deleted) = (before == NOWHERE, after == NOWHERE);
    // The walk has come to the root: nothing leads from the one to the other.
    let forced = !created && !deleted && cursor != Some(before);
    if forced {
        commits.clear();
    }
    commits.reverse();
    let tip = found
        .commits
        .iter()
        .rev()
        .find(|commit| commit.sha == after)
        .cloned();
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
            "created": created, "deleted": deleted, "forced": forced, "base_ref": null,
            "compare": format!("{page}/compare/{}...{}", short(before), short(after)),
            "commits": rendered,
            "head_commit": tip.as_ref().filter(|_| !deleted)
                .map(|commit| render::commit_in_push(world, found, commit)),
            "pusher": {"name": login, "email": format!("{}@users.noreply.example", scene.actor)},
            "repository": repository,
        })
    });
    if full_ref.starts_with("refs/heads/") && (forced || !commits.is_empty()) {
        stage.record(
            scene.repository,
            facts::commits_pushed(scene.repository, full_ref, after, pushed_at),
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
    let at = stage.at;
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
    found.pushed_at = at;
    found.changed();
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
    let at = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    found.pushed_at = at;
    found.changed();
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
    let Some(found) = stage.world.repositories.get(&scene.repository) else {
        return;
    };
    let pushed_at = found.pushed_at;
    let fact = facts::reference(ref_type, scene.repository, name, created, pushed_at);
    stage.record(scene.repository, fact, heard);
}
