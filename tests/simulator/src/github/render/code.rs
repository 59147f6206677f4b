//! Commits, releases, workflow runs and deployments as JSON.

use serde_json::{Value, json};

use super::{
    association, node_id, optional_user, repository, repository_page, repository_url, user,
    user_or_null,
};
use crate::clock::iso;
use crate::github::world::{Commit, Deployment, Id, Release, Repository, Run, World};

fn email(login: &str) -> String {
    format!("{}@users.noreply.example", login.replace(['[', ']'], ""))
}

/// A commit in `GET /commits`.
pub(crate) fn commit(world: &World, repo: &Repository, commit: &Commit) -> Value {
    let base = repository_url(world, repo);
    let page = repository_page(world, repo);
    let login = world.login(commit.author);
    let author = json!({"name": login, "email": email(login), "date": iso(commit.at)});
    let url = format!("{base}/commits/{}", commit.sha);
    let parents: Vec<Value> = commit
        .parent
        .iter()
        .map(|sha| json!({"sha": sha, "url": format!("{base}/commits/{sha}"), "html_url": format!("{page}/commit/{sha}")}))
        .collect();
    json!({
        "sha": commit.sha, "node_id": node_id("Commit", repo.id), "url": url,
        "html_url": format!("{page}/commit/{}", commit.sha),
        "comments_url": format!("{url}/comments"),
        "commit": {
            "author": author, "committer": author, "message": commit.message,
            "tree": {"sha": commit.tree, "url": format!("{base}/git/trees/{}", commit.tree)},
            "url": format!("{base}/git/commits/{}", commit.sha), "comment_count": 0,
        },
        "author": optional_user(world, Some(commit.author)),
        "committer": optional_user(world, Some(commit.author)),
        "parents": parents,
    })
}

/// A commit in a `push` event.
pub(crate) fn commit_in_push(world: &World, repo: &Repository, commit: &Commit) -> Value {
    let login = world.login(commit.author);
    let author = json!({"name": login, "email": email(login), "username": login});
    json!({
        "id": commit.sha, "tree_id": commit.tree, "distinct": true, "message": commit.message,
        "timestamp": iso(commit.at),
        "url": format!("{}/commit/{}", repository_page(world, repo), commit.sha),
        "author": author, "committer": author,
        "added": [], "removed": [], "modified": ["src/main.rs"],
    })
}

/// A comment on a commit.
pub(crate) fn commit_comment(
    world: &World,
    repo: &Repository,
    sha: &str,
    (id, author, body, at): (Id, Id, &str, i64),
) -> Value {
    json!({
        "url": format!("{}/comments/{id}", repository_url(world, repo)),
        "html_url": format!("{}/commit/{sha}#commitcomment-{id}", repository_page(world, repo)),
        "id": id, "node_id": node_id("CommitComment", id), "user": user_or_null(world, author),
        "position": null, "line": null, "path": null, "commit_id": sha,
        "created_at": iso(at), "updated_at": iso(at),
        "author_association": association(world, repo, author), "body": body,
    })
}

/// A release.
pub(crate) fn release(world: &World, repo: &Repository, release: &Release) -> Value {
    let base = repository_url(world, repo);
    let url = format!("{base}/releases/{}", release.id);
    json!({
        "url": url, "assets_url": format!("{url}/assets"),
        "upload_url": format!("{url}/assets{{?name,label}}"),
        "html_url": format!("{}/releases/tag/{}", repository_page(world, repo), release.tag),
        "id": release.id, "node_id": node_id("Release", release.id),
        "tag_name": release.tag, "target_commitish": release.target, "name": release.name,
        "draft": false, "immutable": false, "author": user(world, release.author),
        "prerelease": release.prerelease,
        "created_at": iso(release.created_at), "updated_at": iso(release.updated_at),
        "published_at": iso(release.published_at), "assets": [],
        "tarball_url": format!("{base}/tarball/{}", release.tag),
        "zipball_url": format!("{base}/zipball/{}", release.tag),
        "body": release.body,
    })
}

/// The repository's workflow.
pub(crate) fn workflow(world: &World, repo: &Repository) -> Value {
    let base = repository_url(world, repo);
    json!({
        "id": repo.id, "node_id": node_id("Workflow", repo.id), "name": "CI",
        "path": ".github/workflows/ci.yml", "state": "active",
        "created_at": iso(repo.created_at), "updated_at": iso(repo.created_at),
        "url": format!("{base}/actions/workflows/{}", repo.id),
        "html_url": format!("{}/blob/main/.github/workflows/ci.yml", repository_page(world, repo)),
        "badge_url": format!("{}/workflows/CI/badge.svg", repository_page(world, repo)),
    })
}

/// A workflow run, the same in webhooks and REST.
pub(crate) fn run(world: &World, repo: &Repository, run: &Run) -> Value {
    let base = repository_url(world, repo);
    let url = format!("{base}/actions/runs/{}", run.id);
    let login = world.login(run.actor);
    let author = json!({"name": login, "email": email(login)});
    let previous = (run.attempt > 1).then(|| format!("{url}/attempts/{}", run.attempt - 1));
    let lite = repository_lite(world, repo);
    json!({
        "id": run.id, "name": "CI", "node_id": node_id("WorkflowRun", run.id),
        "head_branch": run.branch, "head_sha": run.sha, "path": ".github/workflows/ci.yml",
        "display_title": run.title, "run_number": run.number, "event": run.event,
        "status": if run.conclusion.is_some() { "completed" } else { "in_progress" },
        "conclusion": run.conclusion, "workflow_id": repo.id,
        "check_suite_id": run.id, "check_suite_node_id": node_id("CheckSuite", run.id),
        "url": url,
        "html_url": format!("{}/actions/runs/{}", repository_page(world, repo), run.id),
        "pull_requests": [],
        "created_at": iso(run.created_at), "updated_at": iso(run.updated_at),
        "actor": user(world, run.actor), "run_attempt": run.attempt, "referenced_workflows": [],
        "run_started_at": iso(run.started_at),
        "triggering_actor": user(world, run.triggering_actor),
        "jobs_url": format!("{url}/jobs"), "logs_url": format!("{url}/logs"),
        "check_suite_url": format!("{base}/check-suites/{}", run.id),
        "artifacts_url": format!("{url}/artifacts"), "cancel_url": format!("{url}/cancel"),
        "rerun_url": format!("{url}/rerun"), "previous_attempt_url": previous,
        "workflow_url": format!("{base}/actions/workflows/{}", repo.id),
        "head_commit": {
            "id": run.sha, "tree_id": run.sha, "message": run.title,
            "timestamp": iso(run.created_at), "author": author, "committer": author,
        },
        "repository": lite, "head_repository": lite,
    })
}

/// The fields of a repository that a workflow run contains.
fn repository_lite(world: &World, repo: &Repository) -> Value {
    const FIELDS: [&str; 9] = [
        "id",
        "node_id",
        "name",
        "full_name",
        "private",
        "owner",
        "html_url",
        "description",
        "fork",
    ];
    let Value::Object(mut object) = repository(world, repo) else {
        return Value::Null;
    };
    object.retain(|name, _| {
        FIELDS.contains(&name.as_str())
            || name == "url"
            || (name.ends_with("_url")
                && !["git_url", "ssh_url", "clone_url", "svn_url", "mirror_url"]
                    .contains(&name.as_str()))
    });
    Value::Object(object)
}

/// A deployment.
pub(crate) fn deployment(world: &World, repo: &Repository, deployment: &Deployment) -> Value {
    let base = repository_url(world, repo);
    let url = format!("{base}/deployments/{}", deployment.id);
    json!({
        "url": url, "id": deployment.id, "node_id": node_id("Deployment", deployment.id),
        "task": "deploy", "original_environment": deployment.environment,
        "environment": deployment.environment, "description": null,
        "created_at": iso(deployment.created_at), "updated_at": iso(deployment.updated_at),
        "statuses_url": format!("{url}/statuses"), "repository_url": base,
        "creator": user(world, deployment.creator), "sha": deployment.sha,
        "ref": deployment.branch, "payload": {}, "transient_environment": false,
        "production_environment": deployment.environment == "production",
        "performed_via_github_app": null,
    })
}

/// A deployment's status.
pub(crate) fn deployment_status(
    world: &World,
    repo: &Repository,
    deployment: &Deployment,
    (id, state, creator, at): (Id, &str, Id, i64),
) -> Value {
    let base = repository_url(world, repo);
    let url = format!("{base}/deployments/{}", deployment.id);
    let target = format!(
        "{}/deployments/{}",
        repository_page(world, repo),
        deployment.environment
    );
    json!({
        "url": format!("{url}/statuses/{id}"), "id": id, "node_id": node_id("DeploymentStatus", id),
        "state": state, "creator": user(world, creator), "description": "",
        "environment": deployment.environment, "target_url": target, "log_url": target,
        "environment_url": target, "created_at": iso(at), "updated_at": iso(at),
        "deployment_url": url, "repository_url": base, "performed_via_github_app": null,
    })
}
