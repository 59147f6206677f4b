//! Actions of machines: workflow runs and deployments.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction, random_title, reject};
use crate::github::facts;
use crate::github::render;
use crate::github::world::{Deployment, Id, ObjectType, Run};

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    event: &str,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match (event, action) {
        ("deployment_status", "created") => deploy(tx, context, params),
        ("workflow_run", "completed") => run(tx, context, params),
        ("workflow_run", "rerun") => rerun(tx, context, params),
        _ => reject(format!("unknown action {event}.{action}")),
    }
}

fn deploy(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    const STATES: [&str; 7] = [
        "success",
        "failure",
        "error",
        "pending",
        "in_progress",
        "queued",
        "waiting",
    ];
    let status = match &params.state {
        None => tx.choose_word(&["success", "success", "failure", "in_progress"]),
        Some(wanted) => match STATES.into_iter().find(|known| known == wanted) {
            Some(status) => status,
            None => return reject(format!("unknown deployment state {wanted}")),
        },
    };
    let deployment = tx.world.next_id(ObjectType::Deployment);
    let id = tx.world.next_id(ObjectType::DeploymentStatus);
    let (at, creator) = (tx.at, context.actor);
    let environment = params
        .name
        .clone()
        .unwrap_or_else(|| "production".to_owned());
    let repo = tx.repository_mut(context.repository)?;
    let sha = repo.head("main").unwrap_or_default().to_owned();
    repo.deployments.push(Deployment {
        id: deployment,
        environment,
        sha,
        branch: "main".to_owned(),
        creator,
        created_at: at,
        updated_at: at,
    });
    let fact = facts::deployment_status(id);
    tx.publish(context, "deployment_status", Some("created"), fact, |world, repo| {
        let Some(entry) = repo.deployments.iter().find(|entry| entry.id == deployment) else { return Value::Null };
        json!({
            "deployment": render::deployment(world, repo, entry),
            "deployment_status": render::deployment_status(world, repo, entry, (id, status, creator, at)),
        })
    });
    Ok(json!({"id": id, "deployment": deployment}))
}

fn conclusion(tx: &mut Transaction<'_>, wanted: Option<&str>) -> Result<&'static str, ActionError> {
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
        None => Ok(tx.choose_word(&["success", "success", "success", "failure", "cancelled"])),
        Some(wanted) => {
            let known = ALL.into_iter().find(|known| *known == wanted);
            known.ok_or_else(|| ActionError(format!("unknown conclusion {wanted}")))
        }
    }
}

fn run(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let conclusion = conclusion(tx, params.state.as_deref())?;
    let id = tx.world.next_id(ObjectType::Run);
    let title = params.title.clone().unwrap_or_else(|| random_title(tx));
    let (at, actor) = (tx.at, context.actor);
    let repo = tx.repository_mut(context.repository)?;
    repo.last_run += 1;
    let number = repo.last_run;
    let sha = repo.head("main").unwrap_or_default().to_owned();
    repo.runs.insert(Run {
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
    complete(tx, context, id, 1)
}

/// Starts a new attempt of a run, whose list entry then shows only this attempt.
fn rerun(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let repo = tx.repository(context.repository)?;
    let known = match params.id {
        Some(id) => repo.runs.get(id).map(|run| run.id),
        None => repo.runs.newest().next().map(|run| run.id),
    };
    let Some(id) = known else {
        if params.id.is_some() {
            return reject("unknown workflow run");
        }
        run(tx, context, &ActionParams::default())?;
        return rerun(tx, context, params);
    };
    let conclusion = conclusion(tx, params.state.as_deref())?;
    let (at, actor) = (tx.at, context.actor);
    let changed = tx
        .repository_mut(context.repository)?
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
        return reject("the workflow run no longer exists");
    };
    tx.service.core.ledger.hide(&hidden);
    complete(tx, context, id, attempt)
}

fn complete(tx: &mut Transaction<'_>, context: ActionContext, id: Id, attempt: u32) -> Outcome {
    let fact = facts::workflow_completed(id, attempt);
    let seq = tx.publish(
        context,
        "workflow_run",
        Some("completed"),
        fact,
        |world, repo| {
            let run = repo.runs.get(id).map(|run| render::run(world, repo, run));
            json!({"workflow_run": run, "workflow": render::workflow(world, repo)})
        },
    );
    tx.repository_mut(context.repository)?
        .runs
        .change(id, |run| run.facts.push(seq));
    Ok(json!({"id": id, "attempt": attempt}))
}
