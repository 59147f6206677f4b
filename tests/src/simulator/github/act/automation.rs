//! What machines do: workflow runs and deployments.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{Act, Outcome, Refused, Scene, Stage, refused, title};
use crate::simulator::github::facts;
use crate::simulator::github::render;
use crate::simulator::github::world::{Deployment, Id, Numbered, Run};

pub(super) fn perform(
    stage: &mut Stage<'_>,
    scene: Scene,
    event: &str,
    action: &str,
    act: &Act,
) -> Outcome {
    match (event, action) {
        ("deployment_status", "created") => deploy(stage, scene, act),
        ("workflow_run", "completed") => run(stage, scene, act),
        ("workflow_run", "rerun") => rerun(stage, scene, act),
        _ => refused(format!("no action {event}.{action}")),
    }
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
    let status = match &act.state {
        None => stage.one_of(&["success", "success", "failure", "in_progress"]),
        Some(wanted) => match STATES.into_iter().find(|known| known == wanted) {
            Some(status) => status,
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
            "deployment_status": render::deployment_status(world, found, entry, (id, status, creator, at)),
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
