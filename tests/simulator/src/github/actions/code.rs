//! Pushes, branches and tags.

use serde_json::{Value, json};

use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction, random_title, reject};
use crate::github::facts;
use crate::github::render;
use crate::github::world::Commit;

const NULL_SHA: &str = "0000000000000000000000000000000000000000";

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    event: &str,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match (event, action) {
        ("push", "") => push(tx, context, params),
        ("push", "reset") => reset(tx, context, params),
        ("create", "branch" | "tag") => create(tx, context, action == "branch", params),
        ("delete", "branch" | "tag") => delete(tx, context, action == "branch", params),
        _ => reject(format!("unknown action {event}.{action}")),
    }
}

/// Adds a commit to a branch, and returns the old and new head.
pub(super) fn commit_to(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    branch: &str,
    message: &str,
) -> Result<(String, String), ActionError> {
    let (sha, tree) = (tx.world.random_sha(), tx.world.random_sha());
    let at = tx.at;
    let repo = tx.repository_mut(context.repository)?;
    let before = repo.head(branch).map(str::to_owned);
    repo.commits.push(Commit {
        sha: sha.clone(),
        tree,
        parent: before.clone(),
        message: message.to_owned(),
        author: context.actor,
        at,
    });
    repo.branches.insert(branch.to_owned(), sha.clone());
    repo.pushed_at = at;
    repo.invalidate_object();
    Ok((before.unwrap_or_else(|| NULL_SHA.to_owned()), sha))
}

fn push(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let branch = params.branch.clone().unwrap_or_else(|| "main".to_owned());
    if tx.repository(context.repository)?.head(&branch).is_none() {
        return reject(format!(
            "unknown branch {branch}; create it with create.branch"
        ));
    }
    let mut first = None;
    let mut after = String::new();
    for _ in 0..params.commits.unwrap_or(1).clamp(1, 2_048) {
        let message = params.title.clone().unwrap_or_else(|| random_title(tx));
        let (before, head) = commit_to(tx, context, &branch, &message)?;
        first.get_or_insert(before);
        after = head;
    }
    let before = first.unwrap_or_default();
    announce_push(
        tx,
        context,
        &format!("refs/heads/{branch}"),
        &before,
        &after,
    )?;
    Ok(json!({"before": before, "after": after}))
}

/// Moves a branch to an existing commit (`name`), or to the parent of its head.
fn reset(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let branch = params.branch.clone().unwrap_or_else(|| "main".to_owned());
    let at = tx.at;
    let repo = tx.repository_mut(context.repository)?;
    let Some(before) = repo.head(&branch).map(str::to_owned) else {
        return reject(format!(
            "unknown branch {branch}; create it with create.branch"
        ));
    };
    let known = |sha: &str| repo.commits.iter().find(|commit| commit.sha == sha);
    let parent = || known(&before)?.parent.clone();
    let target = match &params.name {
        Some(sha) => known(sha).map(|commit| commit.sha.clone()),
        None => parent(),
    };
    let Some(after) = target.filter(|sha| *sha != before) else {
        return reject("the branch has no other commit to move to");
    };
    repo.branches.insert(branch.clone(), after.clone());
    repo.pushed_at = at;
    repo.invalidate_object();
    let full_ref = format!("refs/heads/{branch}");
    announce_push(tx, context, &full_ref, &before, &after)?;
    Ok(json!({"before": before, "after": after}))
}

/// Sends a push event for the commits between two heads of a reference.
///
/// It records the fact if a branch receives commits or is reset.
pub(super) fn announce_push(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    full_ref: &str,
    before: &str,
    after: &str,
) -> Result<(), ActionError> {
    let repo = tx.repository(context.repository)?;
    let pushed_at = repo.pushed_at;
    let mut commits: Vec<Commit> = Vec::new();
    let mut next = Some(after);
    while let Some(sha) =
        next.filter(|sha| *sha != before && *sha != NULL_SHA && before != NULL_SHA)
    {
        let commit = repo.commits.iter().rev().find(|commit| commit.sha == sha);
        let Some(commit) = commit else { break };
        commits.push(commit.clone());
        next = commit.parent.as_deref();
    }
    let (created, deleted) = (before == NULL_SHA, after == NULL_SHA);
    // The walk reached the root, so `before` is not an ancestor of `after`.
    let forced = !created && !deleted && next != Some(before);
    if forced {
        commits.clear();
    }
    commits.reverse();
    let tip = repo
        .commits
        .iter()
        .rev()
        .find(|commit| commit.sha == after)
        .cloned();
    let announced = tx.announce(context, "push", None, |world, repo| {
        let login = world.login(context.actor);
        let page = render::repository_page(world, repo);
        let rendered: Vec<Value> = commits
            .iter()
            .map(|commit| render::commit_in_push(world, repo, commit))
            .collect();
        // Only in push events, GitHub writes two of the repository's dates as numbers.
        let mut repository = render::repository(world, repo);
        repository["created_at"] = json!(repo.created_at);
        repository["pushed_at"] = json!(repo.pushed_at);
        repository["stargazers"] = json!(repo.stars.len());
        repository["master_branch"] = json!("main");
        json!({
            "ref": full_ref, "before": before, "after": after,
            "created": created, "deleted": deleted, "forced": forced, "base_ref": null,
            "compare": format!("{page}/compare/{}...{}", short(before), short(after)),
            "commits": rendered,
            "head_commit": tip.as_ref().filter(|_| !deleted)
                .map(|commit| render::commit_in_push(world, repo, commit)),
            "pusher": {"name": login, "email": format!("{}@users.noreply.example", context.actor)},
            "repository": repository,
        })
    });
    if full_ref.starts_with("refs/heads/") && (forced || !commits.is_empty()) {
        let fact = facts::commits_pushed(context.repository, full_ref, after, pushed_at);
        tx.record(context, fact, announced);
    }
    Ok(())
}

fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}

fn create(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    branch: bool,
    params: &ActionParams,
) -> Outcome {
    let name = match params.name.clone().or_else(|| params.branch.clone()) {
        Some(name) => name,
        None if branch => format!("topic-{}", &tx.world.random_sha()[..8]),
        None => format!("v0.{}", &tx.world.random_sha()[..6]),
    };
    let at = tx.at;
    let repo = tx.repository_mut(context.repository)?;
    let head = repo.head("main").unwrap_or_default().to_owned();
    let taken = if branch {
        &mut repo.branches
    } else {
        &mut repo.tags
    };
    if taken.insert(name.clone(), head.clone()).is_some() {
        return reject(format!("{name} already exists"));
    }
    repo.pushed_at = at;
    repo.invalidate_object();
    announce_reference(tx, context, "create", branch, &name, true);
    let full_ref = format!("refs/{}/{name}", if branch { "heads" } else { "tags" });
    announce_push(tx, context, &full_ref, NULL_SHA, &head)?;
    Ok(json!({"name": name, "sha": head}))
}

fn delete(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    branch: bool,
    params: &ActionParams,
) -> Outcome {
    let repo = tx.repository(context.repository)?;
    let all = if branch { &repo.branches } else { &repo.tags };
    let known = match &params.name {
        Some(name) => all.get_key_value(name),
        None => all.iter().rfind(|(name, _)| name.as_str() != "main"),
    };
    let Some((name, sha)) = known.map(|(name, sha)| (name.clone(), sha.clone())) else {
        if params.name.is_some() {
            return reject("unknown branch or tag");
        }
        create(tx, context, branch, &ActionParams::default())?;
        return delete(tx, context, branch, params);
    };
    let at = tx.at;
    let repo = tx.repository_mut(context.repository)?;
    repo.pushed_at = at;
    repo.invalidate_object();
    let all = if branch {
        &mut repo.branches
    } else {
        &mut repo.tags
    };
    all.remove(&name);
    announce_reference(tx, context, "delete", branch, &name, false);
    let full_ref = format!("refs/{}/{name}", if branch { "heads" } else { "tags" });
    announce_push(tx, context, &full_ref, &sha, NULL_SHA)?;
    Ok(json!({"name": name, "sha": sha}))
}

fn announce_reference(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    event: &'static str,
    branch: bool,
    name: &str,
    created: bool,
) {
    let ref_type = if branch { "branch" } else { "tag" };
    let announced = tx.announce(context, event, None, |_, repo| {
        let mut body = json!({"ref": name, "ref_type": ref_type, "pusher_type": "user"});
        if created {
            body["master_branch"] = json!("main");
            body["description"] = json!(format!("The {} project", repo.name));
        }
        body
    });
    let Some(repo) = tx.world.repositories.get(&context.repository) else {
        return;
    };
    let pushed_at = repo.pushed_at;
    let fact = facts::reference(ref_type, context.repository, name, created, pushed_at);
    tx.record(context, fact, announced);
}
