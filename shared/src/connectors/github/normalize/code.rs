//! Pushes, branches and tags, deployments, workflow runs.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Fact, Place, Scene, actor, need};
use crate::connectors::github::wire::{
    Commit, Deployment, DeploymentStatus, Named, Push, Repository, WireError, WorkflowRun,
};
use crate::signals::{SignalDraft, SignalKind, Subject};

const BRANCH_PREFIX: &str = "refs/heads/";

/// A push may carry two thousand commits; a Signal names the first of them.
const NAMED_COMMITS: usize = 20;

/// The Signal of a `push` delivery: commits on a branch. Tags, deletions and branches
/// without new commits are told by `create` and `delete`.
pub(super) fn push(scene: &Scene<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    let push: Push = scene.payload.whole()?;
    let commits = push.commits.as_deref().unwrap_or_default();
    let Some(branch) = push.name.strip_prefix(BRANCH_PREFIX) else {
        return Ok(None);
    };
    if push.deleted == Some(true) || commits.is_empty() {
        return Ok(None);
    }
    let repository: Repository = scene.payload.required("repository")?;
    let place = Place::from(&repository);
    // The commits' own times are whatever their authors' clocks, or wishes, were.
    let at = repository.pushed_at.map_or(scene.received_at, |at| at.0);
    let head = push
        .head_commit
        .as_ref()
        .and_then(|commit| commit.message.as_deref());
    Ok(Some(
        place.signal(Fact {
            kind: SignalKind::CommitsPushed,
            key: format!("push:{}:{}:{}", place.id, push.name, push.after),
            at,
            actor: scene.actor()?,
            subject: Subject {
                kind: "push".to_owned(),
                id: push.after.clone(),
                key: place.at(branch),
                title: head
                    .and_then(|message| message.lines().next())
                    .map(ToOwned::to_owned),
                url: push.compare.clone(),
            },
            normalized: json!({
                "ref": push.name,
                "before": push.before,
                "after": push.after,
                "forced": push.forced.unwrap_or(false),
                "commit_count": commits.len(),
                "commits": commits.iter().take(NAMED_COMMITS).map(commit).collect::<Vec<_>>(),
            }),
            raw: scene.payload.raw_whole()?,
        }),
    ))
}

fn commit(commit: &Commit) -> Value {
    let author = commit.author.as_ref();
    json!({
        "id": commit.id,
        "message": commit.message,
        "author": author.and_then(|author| author.username.as_ref().or(author.name.as_ref())),
    })
}

/// The Signal of a `create` or `delete` delivery. It has no time of its own, so a branch
/// that is created twice on one day is one fact.
pub(super) fn reference(
    event: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    let ref_type: String = scene.payload.required("ref_type")?;
    let (kind, done) = match (ref_type.as_str(), event) {
        ("branch", "create") => (SignalKind::BranchCreated, "created"),
        ("tag", "create") => (SignalKind::TagCreated, "created"),
        ("branch", "delete") => (SignalKind::BranchDeleted, "deleted"),
        ("tag", "delete") => (SignalKind::TagDeleted, "deleted"),
        _ => return Ok(None),
    };
    let place = scene.place()?;
    let name: String = scene.payload.required("ref")?;
    Ok(Some(place.signal(Fact {
        kind,
        key: format!("{ref_type}:{}:{name}:{done}:{}", place.id, scene.day()),
        at: scene.received_at,
        actor: scene.actor()?,
        subject: Subject {
            id: name.clone(),
            key: place.at(&name),
            title: Some(name.clone()),
            url: None,
            kind: ref_type,
        },
        normalized: json!({ "ref": name }),
        raw: scene.payload.raw_whole()?,
    })))
}

/// The Signal of a `deployment_status` delivery.
pub(super) fn deployment_status(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if action != "created" {
        return Ok(None);
    }
    let place = scene.place()?;
    let (status, raw) = scene
        .payload
        .object::<DeploymentStatus>("deployment_status")?;
    let deployment: Option<Deployment> = scene.payload.optional("deployment")?;
    let deployment = deployment.as_ref();
    let sender = scene.sender()?;
    let environment = status
        .environment
        .as_deref()
        .filter(|name| !name.is_empty())
        .or_else(|| deployment?.environment.as_deref());
    let title = match (environment, status.state.as_deref()) {
        (Some(environment), Some(state)) => Some(format!("{environment}: {state}")),
        (part, other) => part.or(other).map(ToOwned::to_owned),
    };
    let links = [&status.target_url, &status.log_url];
    let url = links
        .into_iter()
        .flatten()
        .find(|url| !url.is_empty())
        .cloned();
    Ok(Some(place.signal(Fact {
        kind: SignalKind::DeploymentStatusChanged,
        key: format!("deployment_status:{}", status.id),
        at: need(status.created_at, "deployment_status.created_at")?.0,
        actor: actor(sender.as_ref().or(status.creator.as_ref())),
        subject: Subject {
            kind: "deployment_status".to_owned(),
            id: status.id.to_string(),
            key: None,
            title,
            url,
        },
        normalized: json!({
            "state": status.state,
            "environment": environment,
            "deployment_id": deployment.and_then(|found| found.id).map(|id| id.to_string()),
            "ref": deployment.and_then(|found| found.name.as_ref()),
            "sha": deployment.and_then(|found| found.sha.as_ref()),
        }),
        raw,
    })))
}

/// The Signal of a `workflow_run` delivery.
pub(super) fn workflow_run_event(
    action: &str,
    scene: &Scene<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if action != "completed" {
        return Ok(None);
    }
    let place = scene.place()?;
    let (run, raw) = scene.payload.object::<WorkflowRun>("workflow_run")?;
    let workflow: Option<Named> = scene.payload.optional("workflow")?;
    workflow_completed(
        &place,
        &run,
        raw,
        workflow.and_then(|workflow| workflow.name).as_deref(),
    )
    .map(Some)
}

/// A workflow run ended. Each attempt of a run ends for itself.
pub(in super::super) fn workflow_completed(
    place: &Place,
    run: &WorkflowRun,
    raw: &RawValue,
    workflow: Option<&str>,
) -> Result<SignalDraft, WireError> {
    let attempt = run.run_attempt.unwrap_or(1);
    let workflow = run.name.as_deref().or(workflow);
    let title = run
        .display_title
        .as_deref()
        .filter(|title| !title.is_empty())
        .or(workflow);
    Ok(place.signal(Fact {
        kind: SignalKind::WorkflowCompleted,
        key: format!("workflow_run:{}:{attempt}", run.id),
        at: need(run.updated_at.or(run.created_at), "workflow_run.updated_at")?.0,
        actor: actor(run.triggering_actor.as_ref().or(run.actor.as_ref())),
        subject: Subject {
            kind: "workflow_run".to_owned(),
            id: run.id.to_string(),
            key: workflow
                .zip(run.run_number)
                .map(|(name, number)| format!("{name} #{number}")),
            title: title.map(ToOwned::to_owned),
            url: run.html_url.clone(),
        },
        normalized: json!({
            "workflow": workflow,
            "conclusion": run.conclusion,
            "run_attempt": attempt,
            "run_number": run.run_number,
            "branch": run.head_branch,
            "sha": run.head_sha,
        }),
        raw,
    }))
}
