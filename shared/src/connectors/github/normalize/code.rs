//! Pushes, branches and tags, deployments, workflow runs.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Envelope, Fact, FactTime, NormalizeContext, RepositoryRef, actor, require};
use crate::connectors::github::wire::{
    Commit, Deployment, DeploymentStatus, Named, Push, WireError, WorkflowRun,
};
use crate::model::{SignalDraft, SignalKind, Subject};

const BRANCH_PREFIX: &str = "refs/heads/";

/// Object id without a commit.
const NULL_SHA: &str = "0000000000000000000000000000000000000000";

/// Maximum number of commits that a Signal lists. A push may have two thousand.
const MAX_COMMITS: usize = 20;

/// The Signal of a `push` delivery: commits on a branch, or a forced push.
///
/// Tags, deletions and new branches have `create` and `delete` deliveries.
pub(super) fn push(context: &NormalizeContext<'_, '_>) -> Result<Option<SignalDraft>, WireError> {
    let push: Push = context.payload.whole()?;
    let Some(branch) = push.name.strip_prefix(BRANCH_PREFIX) else {
        return Ok(None);
    };
    let is_new = push.created == Some(true) || push.before.as_deref() == Some(NULL_SHA);
    let is_deletion = push.deleted == Some(true) || push.after == NULL_SHA;
    let is_forced = push.forced == Some(true);
    if is_new || is_deletion || (push.commits.is_empty() && !is_forced) {
        return Ok(None);
    }
    let repository = context.repository()?;
    let repo = RepositoryRef::from(&repository);
    // The commits' times come from their authors' clocks and are not reliable.
    let at = require(repository.pushed_at, "repository.pushed_at")?;
    let head = push
        .head_commit
        .as_ref()
        .and_then(|commit| commit.message.as_deref());
    Ok(Some(
        repo.signal(Fact {
            kind: SignalKind::CommitsPushed,
            key: format!("push:{}:{}:{}:{at}", repo.id, push.name, push.after),
            at: FactTime::from(at),
            actor: context.actor()?,
            subject: Subject {
                kind: "push".to_owned(),
                id: push.after.clone(),
                key: repo.at(branch),
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
                "commit_count": push.commits.count,
                "commits": push.commits.readable.iter().take(MAX_COMMITS).map(commit).collect::<Vec<_>>(),
            }),
            raw: context.payload.raw_whole()?,
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

/// The Signal of a `create` or `delete` delivery.
///
/// The payload has no time; the repository's last push distinguishes repeated creations.
pub(super) fn reference(
    event: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    let ref_type: String = context.payload.required("ref_type")?;
    let (kind, done) = match (ref_type.as_str(), event) {
        ("branch", "create") => (SignalKind::BranchCreated, "created"),
        ("tag", "create") => (SignalKind::TagCreated, "created"),
        ("branch", "delete") => (SignalKind::BranchDeleted, "deleted"),
        ("tag", "delete") => (SignalKind::TagDeleted, "deleted"),
        _ => return Ok(None),
    };
    let repository = context.repository()?;
    let repo = RepositoryRef::from(&repository);
    let pushed_at = require(repository.pushed_at, "repository.pushed_at")?;
    let name: String = context.payload.required("ref")?;
    Ok(Some(repo.signal(Fact {
        kind,
        key: format!("{ref_type}:{}:{name}:{done}:{pushed_at}", repo.id),
        at: context.receipt_time(),
        actor: context.actor()?,
        subject: Subject {
            id: name.clone(),
            key: repo.at(&name),
            title: Some(name.clone()),
            url: None,
            kind: ref_type,
        },
        normalized: json!({ "ref": name }),
        raw: context.payload.raw_whole()?,
    })))
}

/// The Signal of a `deployment_status` delivery.
pub(super) fn deployment_status(
    action: &str,
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if action != "created" {
        return Ok(None);
    }
    let repo = context.repo()?;
    let (status, raw) = context
        .payload
        .object::<DeploymentStatus>("deployment_status")?;
    let deployment: Option<Deployment> = context.payload.optional("deployment")?;
    let deployment = deployment.as_ref();
    let sender = context.sender()?;
    let environment = status
        .environment
        .as_deref()
        .or_else(|| deployment?.environment.as_deref());
    let title = match (environment, status.state.as_deref()) {
        (Some(environment), Some(state)) => Some(format!("{environment}: {state}")),
        (part, other) => part.or(other).map(ToOwned::to_owned),
    };
    let url = status.target_url.or(status.log_url);
    Ok(Some(repo.signal(Fact {
        kind: SignalKind::DeploymentStatusChanged,
        key: format!("deployment_status:{}", status.id),
        at: context.time_or_receipt(status.created_at),
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
    context: &NormalizeContext<'_, '_>,
) -> Result<Option<SignalDraft>, WireError> {
    if action != "completed" {
        return Ok(None);
    }
    let repo = context.repo()?;
    let (run, raw) = context.payload.object::<WorkflowRun>("workflow_run")?;
    let workflow: Option<Named> = context.payload.optional("workflow")?;
    workflow_completed(
        &repo,
        &run,
        raw,
        workflow.and_then(|workflow| workflow.name).as_deref(),
        &context.envelope()?,
    )
    .map(Some)
}

/// The Signal of a completed workflow run; each attempt of a run completes separately.
///
/// A run without a name has the name of its workflow, or else the workflow's file name.
pub(in super::super) fn workflow_completed(
    repo: &RepositoryRef,
    run: &WorkflowRun,
    raw: &RawValue,
    workflow: Option<&str>,
    envelope: &Envelope,
) -> Result<SignalDraft, WireError> {
    let attempt = run.run_attempt.unwrap_or(1);
    let file = || Some(run.path.as_deref()?.split('@').next().unwrap_or_default());
    let workflow = run.name.as_deref().or(workflow).or_else(file);
    let title = run.display_title.as_deref().or(workflow);
    Ok(repo.signal(Fact {
        kind: SignalKind::WorkflowCompleted,
        key: format!("workflow_run:{}:{attempt}", run.id),
        at: envelope.time_or_receipt(run.updated_at, "workflow_run.updated_at")?,
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
