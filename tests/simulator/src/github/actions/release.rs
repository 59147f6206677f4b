//! Releases: published, edited, deleted.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction, reject};
use crate::github::facts;
use crate::github::render;
use crate::github::world::{Id, ObjectType, Release};

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match action {
        "published" => Ok(json!({"id": publish(tx, context, params)?})),
        "edited" => edit_release(tx, context, params),
        "deleted" => delete_release(tx, context, params),
        _ => reject(format!("unknown action release.{action}")),
    }
}

fn publish(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<Id, ActionError> {
    let id = tx.world.next_id(ObjectType::Release);
    let at = tx.at;
    let tag = params
        .name
        .clone()
        .unwrap_or_else(|| format!("v1.{}", id % 100_000));
    let name = match &params.title {
        Some(title) => Some(title.clone()),
        // GitHub sends an empty name for a release without a name.
        None => Some(if tx.chance(0.2) {
            String::new()
        } else {
            format!("Release {tag}")
        }),
    };
    let repo = tx.repository_mut(context.repository)?;
    let tip = repo.head("main").unwrap_or_default().to_owned();
    repo.tags.insert(tag.clone(), tip);
    repo.releases.insert(Release {
        id,
        tag,
        name,
        body: params
            .body
            .clone()
            .unwrap_or_else(|| "Fixes and improvements.".to_owned()),
        target: "main".to_owned(),
        prerelease: params.state.as_deref() == Some("prerelease"),
        author: context.actor,
        created_at: at,
        updated_at: at,
        published_at: at,
        facts: Vec::new(),
        rendered: OnceCell::new(),
    });
    announce_release(tx, context, "created", id, json!({}));
    let announced = announce_release(tx, context, "published", id, json!({}));
    announce_release(tx, context, "released", id, json!({}));
    let seq = tx.record(context.repository, facts::release_published(id), announced);
    tx.repository_mut(context.repository)?
        .releases
        .change(id, |release| release.facts.push(seq));
    Ok(id)
}

fn announce_release(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &'static str,
    id: Id,
    extra: Value,
) -> bool {
    tx.announce(
        context.repository,
        "release",
        Some(action),
        context.actor,
        |world, repo| {
            let mut body = extra;
            let release = repo.releases.get(id);
            body["release"] =
                release.map_or(Value::Null, |release| render::release(world, repo, release));
            body
        },
    )
}

/// Release in the parameters, or the newest, or a new one.
fn choose_release(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<Id, ActionError> {
    let repo = tx.repository(context.repository)?;
    if let Some(id) = params.id {
        let known = repo.releases.get(id).map(|release| release.id);
        return known.ok_or_else(|| ActionError(format!("unknown release {id}")));
    }
    let newest = repo.releases.newest().next().map(|release| release.id);
    match newest {
        Some(id) => Ok(id),
        None => publish(tx, context, &ActionParams::default()),
    }
}

fn edit_release(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = choose_release(tx, context, params)?;
    let at = tx.at;
    let body = params
        .body
        .clone()
        .unwrap_or_else(|| "More fixes and improvements.".to_owned());
    tx.repository_mut(context.repository)?
        .releases
        .change(id, |release| {
            release.body = body;
            release.updated_at = at;
        });
    let changes = json!({"changes": {"body": {"from": "An earlier text"}}});
    let announced = announce_release(tx, context, "edited", id, changes);
    tx.record(context.repository, facts::release_edited(id, at), announced);
    Ok(json!({ "id": id }))
}

fn delete_release(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = choose_release(tx, context, params)?;
    let announced = announce_release(tx, context, "deleted", id, json!({}));
    let removed = tx.repository_mut(context.repository)?.releases.remove(id);
    tx.hub
        .core
        .ledger
        .hide(&removed.map(|release| release.facts).unwrap_or_default());
    tx.record(context.repository, facts::release_deleted(id), announced);
    Ok(json!({ "id": id }))
}
