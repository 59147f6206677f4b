//! Repositories themselves: stars, forks, milestones, members, and what happens
//! to the repository as a whole.

use serde_json::{Value, json};

use super::{Act, Outcome, Refused, Scene, Stage, refused};
use crate::simulator::github::facts;
use crate::simulator::github::render;
use crate::simulator::github::world::{Id, Milestone, Numbered, PersonKind, Star};

pub(super) fn perform(
    stage: &mut Stage<'_>,
    scene: Scene,
    event: &str,
    action: &str,
    act: &Act,
) -> Outcome {
    match (event, action) {
        ("star", "created") => star(stage, scene, act),
        ("star", "deleted") => unstar(stage, scene, act),
        ("watch", "started") => {
            stage.announce(
                scene.repository,
                "watch",
                Some("started"),
                scene.actor,
                |_, _| json!({}),
            );
            Ok(json!({}))
        }
        ("fork", "") => fork(stage, scene),
        ("milestone", "created") => Ok(json!({"id": create_milestone(stage, scene, act)?})),
        ("milestone", "closed") => close_milestone(stage, scene, act),
        ("member", "added") => add_member(stage, scene, act),
        ("repository", "created") => create(stage, scene, act),
        ("repository", "publicized") => publicize(stage, scene),
        ("repository", "archived") => archive(stage, scene),
        ("repository", "renamed") => rename(stage, scene, act),
        ("repository", "transferred") => transfer(stage, scene, act),
        _ => refused(format!("no action {event}.{action}")),
    }
}

fn star(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let user = if act.login.is_some() {
        stage.choose_person(scene.account, act.login.as_deref())?
    } else {
        // Stars come from outside more often than not.
        let login = format!("visitor-{}", &stage.world.sha()[..8]);
        stage.world.add_person(&login, PersonKind::User)
    };
    let at = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    if found.stars.iter().any(|star| star.user == user) {
        return refused("has starred this already");
    }
    found.stars.push(Star { user, at, fact: 0 });
    found.changed();
    let starred_at = crate::simulator::clock::iso(at);
    let heard = stage.announce(
        scene.repository,
        "star",
        Some("created"),
        user,
        |_, _| json!({"starred_at": starred_at}),
    );
    let seq = stage.record(
        scene.repository,
        facts::starred(scene.repository, user, at),
        heard,
    );
    let found = stage.repository_mut(scene.repository)?;
    if let Some(star) = found.stars.iter_mut().find(|star| star.user == user) {
        star.fact = seq;
    }
    Ok(json!({"id": user, "login": stage.world.login(user)}))
}

fn unstar(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let wanted = match &act.login {
        Some(login) => Some(stage.choose_person(scene.account, Some(login))?),
        None => None,
    };
    let now = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    let at = found
        .stars
        .iter()
        .rposition(|star| wanted.is_none_or(|user| user == star.user));
    let Some(at) = at else {
        if wanted.is_some() {
            return refused("has not starred this");
        }
        star(stage, scene, &Act::default())?;
        return unstar(stage, scene, act);
    };
    let star = found.stars.remove(at);
    found.updated_at = now;
    found.changed();
    stage.hub.core.ledger.hide(&[star.fact]);
    let heard = stage.announce(
        scene.repository,
        "star",
        Some("deleted"),
        star.user,
        |_, _| json!({"starred_at": null}),
    );
    stage.record(
        scene.repository,
        facts::unstarred(scene.repository, star.user, now),
        heard,
    );
    Ok(json!({"id": star.user, "login": stage.world.login(star.user)}))
}

fn fork(stage: &mut Stage<'_>, scene: Scene) -> Outcome {
    let login = format!("forker-{}", &stage.world.sha()[..8]);
    let owner = stage.world.add_person(&login, PersonKind::User);
    let name = stage.repository(scene.repository)?.name.clone();
    let forkee = stage.world.add_repository(owner, &name, stage.at);
    stage.repository_mut(forkee)?.fork_of = Some(scene.repository);
    let found = stage.repository_mut(scene.repository)?;
    found.forks += 1;
    found.changed();
    let heard = stage.announce(scene.repository, "fork", None, owner, |world, _| {
        let fork = world.repositories.get(&forkee);
        json!({"forkee": fork.map(|fork| render::repository(world, fork))})
    });
    stage.record(scene.repository, facts::forked(forkee), heard);
    Ok(json!({"id": forkee, "full_name": format!("{login}/{name}")}))
}

fn create_milestone(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Result<Id, Refused> {
    let id = stage.world.number(Numbered::Milestone);
    let (at, creator) = (stage.at, scene.actor);
    let found = stage.repository_mut(scene.repository)?;
    let number = found
        .milestones
        .iter()
        .map(|entry| entry.number)
        .max()
        .unwrap_or(0)
        + 1;
    let title = act
        .title
        .clone()
        .unwrap_or_else(|| format!("Milestone {number}"));
    let (created_at, updated_at, closed_at) = (at, at, None);
    found.milestones.push(Milestone {
        id,
        number,
        title,
        creator,
        created_at,
        updated_at,
        closed_at,
    });
    let heard = announce_milestone(stage, scene, "created", id);
    stage.record(scene.repository, facts::milestone_created(id), heard);
    Ok(id)
}

/// An open milestone, created if there is none.
pub(super) fn any_milestone(stage: &mut Stage<'_>, scene: Scene) -> Result<Id, Refused> {
    let found = stage.repository(scene.repository)?;
    match found
        .milestones
        .iter()
        .rfind(|entry| entry.closed_at.is_none())
        .map(|entry| entry.id)
    {
        Some(id) => Ok(id),
        None => create_milestone(stage, scene, &Act::default()),
    }
}

fn announce_milestone(stage: &mut Stage<'_>, scene: Scene, action: &'static str, id: Id) -> bool {
    stage.announce(
        scene.repository,
        "milestone",
        Some(action),
        scene.actor,
        |world, found| {
            let entry = found.milestones.iter().find(|entry| entry.id == id);
            json!({"milestone": entry.map(|entry| render::milestone(world, found, entry))})
        },
    )
}

fn close_milestone(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let id = match act.number {
        None => any_milestone(stage, scene)?,
        Some(number) => {
            let found = stage.repository(scene.repository)?;
            let fits = |entry: &&Milestone| entry.number == number && entry.closed_at.is_none();
            let known = found.milestones.iter().find(fits).map(|entry| entry.id);
            known.ok_or_else(|| Refused(format!("no open milestone {number}")))?
        }
    };
    let at = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    if let Some(entry) = found.milestones.iter_mut().find(|entry| entry.id == id) {
        entry.closed_at = Some(at);
        entry.updated_at = at;
    }
    let heard = announce_milestone(stage, scene, "closed", id);
    stage.record(scene.repository, facts::milestone_closed(id, at), heard);
    Ok(json!({ "id": id }))
}

fn add_member(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let login = match &act.login {
        Some(login) => login.clone(),
        None => format!("guest-{}", &stage.world.sha()[..8]),
    };
    let member = stage.world.add_person(&login, PersonKind::User);
    let at = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    found.collaborators.push(member);
    found.updated_at = at;
    found.changed();
    let heard = stage.announce(scene.repository, "member", Some("added"), scene.actor, |world, _| {
        json!({"member": render::user(world, member), "changes": {"permission": {"to": "write"}}})
    });
    stage.record(
        scene.repository,
        facts::member_added(scene.repository, member, at),
        heard,
    );
    Ok(json!({"id": member, "login": login}))
}

/// Announces and records what happened to the repository as a whole.
fn changed(stage: &mut Stage<'_>, scene: Scene, action: &'static str, extra: Value) -> Outcome {
    let at = stage.at;
    let found = stage.repository_mut(scene.repository)?;
    found.updated_at = at;
    found.changed();
    let heard = stage.announce(
        scene.repository,
        "repository",
        Some(action),
        scene.actor,
        |_, _| extra,
    );
    if let Some(fact) = facts::repository_changed(scene.repository, action, at) {
        stage.record(scene.repository, fact, heard);
    }
    let found = stage.repository(scene.repository)?;
    Ok(json!({"id": scene.repository, "full_name": stage.world.full_name(found)}))
}

fn create(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let name = match &act.name {
        Some(name) => name.clone(),
        None => format!("project-{}", &stage.world.sha()[..6]),
    };
    let owner = stage.world.login(scene.account).to_owned();
    if taken(stage, &owner, &name) {
        return refused(format!("{owner}/{name} exists already"));
    }
    let repository = stage.world.add_repository(scene.account, &name, stage.at);
    changed(
        stage,
        Scene {
            repository,
            ..scene
        },
        "created",
        json!({}),
    )
}

fn publicize(stage: &mut Stage<'_>, scene: Scene) -> Outcome {
    stage.repository_mut(scene.repository)?.private = false;
    let answer = changed(stage, scene, "publicized", json!({}));
    stage.announce(scene.repository, "public", None, scene.actor, |_, _| {
        json!({})
    });
    answer
}

fn archive(stage: &mut Stage<'_>, scene: Scene) -> Outcome {
    stage.repository_mut(scene.repository)?.archived = true;
    changed(stage, scene, "archived", json!({}))
}

fn rename(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let found = stage.repository(scene.repository)?;
    let (owner, former) = (found.owner, found.name.clone());
    let name = match &act.name {
        Some(name) => name.clone(),
        None => format!("{former}-next"),
    };
    let login = stage.world.login(owner).to_owned();
    if taken(stage, &login, &name) {
        return refused(format!("{login}/{name} exists already"));
    }
    stage
        .world
        .rename_repository(scene.repository, owner, &name);
    changed(
        stage,
        scene,
        "renamed",
        json!({"changes": {"repository": {"name": {"from": former}}}}),
    )
}

/// Whether a repository has this name now; a former name may be given again.
fn taken(stage: &Stage<'_>, owner: &str, name: &str) -> bool {
    let found = stage.world.repository_id(owner, name);
    found.is_some_and(|id| stage.world.is_current_name(id, owner, name))
}

/// Moves the repository to another account; only that account hears of it.
fn transfer(stage: &mut Stage<'_>, scene: Scene, act: &Act) -> Outcome {
    let Some(target) = act
        .to
        .as_ref()
        .and_then(|login| stage.world.account_by_login(login))
    else {
        return refused("`to` must name an account");
    };
    let (target, login) = (target.id, stage.world.login(target.id).to_owned());
    let found = stage.repository(scene.repository)?;
    let former = found.owner;
    let name = act.name.clone().unwrap_or_else(|| found.name.clone());
    if former == target || taken(stage, &login, &name) {
        return refused(format!("{login}/{name} exists already"));
    }
    super::selection::leave(stage, scene.repository);
    stage
        .world
        .rename_repository(scene.repository, target, &name);
    stage.hub.core.ledger.rehome(scene.repository, &login);
    let key = match stage.world.people.get(&former).map(|person| person.kind) {
        Some(PersonKind::Organization) => "organization",
        _ => "user",
    };
    let from = json!({"changes": {"owner": {"from": {key: render::user(stage.world, former)}}}});
    changed(
        stage,
        Scene {
            account: target,
            ..scene
        },
        "transferred",
        from,
    )
}
