//! Pushes, branches and tags, deployments, workflow runs.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Envelope, Fact, Place, Scene, When, actor, need};
use crate::connectors::github::wire::{
    Commit, Deployment, DeploymentStatus, Named, Push, WireError, WorkflowRun,
};
use crate::signals::{SignalDraft, SignalKind, Subject};

const BRANCH_PREFIX: &str = "refs/heads/";

/// The object name that stands for no commit.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// A push may carry two thousand commits; a Signal names the first of them.
const NAMED_COMMITS: usize = 20;

/// The Signal of a `push` delivery: commits on a branch, or a branch that was thrown back. Tags,
/// deletions and new branches are told by `create` and `delete`.
pub(super) fn push(scene: &Scene<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    let push: Push = scene.payload.whole()?;
    let Some(branch) = push.name.strip_prefix(BRANCH_PREFIX) else {
        return Ok(None);
    };
    let is_new = push.created == Some(true) || push.before.as_deref() == Some(NO_COMMIT);
    let is_deletion = push.deleted == Some(true) || push.after == NO_COMMIT;
    let is_forced = push.forced == Some(true);
    if is_new || is_deletion || (push.commits.is_empty() && !is_forced) {
        return Ok(None);
    }
    let repository = scene.repository()?;
    let place = Place::from(&repository);
    // The commits' own times are whatever their authors' clocks, or wishes, were.
    let at = need(repository.pushed_at, "repository.pushed_at")?;
    let head = push
        .head_commit
        .as_ref()
        .and_then(|commit| commit.message.as_deref());
    Ok(Some(
        place.signal(Fact {
            kind: SignalKind::CommitsPushed,
            key: format!("push:{}:{}:{}:{at}", place.id, push.name, push.after),
            at: When::from(at),
            actor: scene.actor()?,
            subject: Subject {
                kind: "push".to_owned(),
                id: push.after.clone(),
                key: place.at(branch),
                title: head
                    .and_then(|message| message.lines().find(|line| !line.is_empty()))
                    .map(ToOwned::to_owned),
                url: push.compare.clone(),
            },
            normalized: json!({
                "ref": push.name,
                "before": push.before,
                "after": push.after,
                "forced": is_forced,
                "commit_count": push.commits.len(),
                "commits": push.commits.iter().take(NAMED_COMMITS).map(commit).collect::<Vec<_>>(),
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

/// The Signal of a `create` or `delete` delivery. It has no time of its own; the repository's last
/// push tells a branch that is created again from the first.
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
    let repository = scene.repository()?;
    let place = Place::from(&repository);
    let pushed_at = need(repository.pushed_at, "repository.pushed_at")?;
    let name: String = scene.payload.required("ref")?;
    Ok(Some(place.signal(Fact {
        kind,
        key: format!("{ref_type}:{}:{name}:{done}:{pushed_at}", place.id),
        at: scene.receipt(),
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
        .or_else(|| deployment?.environment.as_deref());
    let title = match (environment, status.state.as_deref()) {
        (Some(environment), Some(state)) => Some(format!("{environment}: {state}")),
        (part, other) => part.or(other).map(ToOwned::to_owned),
    };
    let url = status.target_url.or(status.log_url);
    Ok(Some(place.signal(Fact {
        kind: SignalKind::DeploymentStatusChanged,
        key: format!("deployment_status:{}", status.id),
        at: scene.when(status.created_at),
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
        &scene.envelope()?,
    )
    .map(Some)
}

/// A workflow run ended. Each attempt of a run ends for itself. A run without a name is called
/// as its workflow, and a workflow without one by its file.
pub(in super::super) fn workflow_completed(
    place: &Place,
    run: &WorkflowRun,
    raw: &RawValue,
    workflow: Option<&str>,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let attempt = run.run_attempt.unwrap_or(1);
    let file = || Some(run.path.as_deref()?.split('@').next().unwrap_or_default());
    let workflow = run.name.as_deref().or(workflow).or_else(file);
    let title = run.display_title.as_deref().or(workflow);
    Ok(place.signal(Fact {
        kind: SignalKind::WorkflowCompleted,
        key: format!("workflow_run:{}:{attempt}", run.id),
        at: envelope.when(run.updated_at, "workflow_run.updated_at")?,
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
