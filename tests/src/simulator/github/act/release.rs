//! Releases: published, edited, deleted.

use std::cell::OnceCell;

use serde_json::{Value, json};

use super::{Act, Outcome, Refused, Scene, Stage, refused};
use crate::simulator::github::facts;
use crate::simulator::github::render;
use crate::simulator::github::world::{Id, Numbered, Release};

pub(super) fn perform(stage: &mut Stage<'_>, scene: Scene, action: &str, act: &Act) -> Outcome {
    match action {
        "published" => Ok(json!({"id": publish(stage, scene, act)?})),
        "edited" => edit_release(stage, scene, act),
        "deleted" => delete_release(stage, scene, act),
        _ => refused(format!("no action release.{action}")),
    }
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
    let tip = found.head("main").unwrap_or_default().to_owned();
    found.tags.insert(tag.clone(), tip);
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
