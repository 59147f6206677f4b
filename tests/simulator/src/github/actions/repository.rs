//! Repositories: stars, forks, milestones, members, and changes of the repository.

use serde_json::{Value, json};

use super::{ActionContext, ActionError, ActionParams, Outcome, Transaction, reject};
use crate::github::facts::{self, Fact};
use crate::github::render;
use crate::github::world::{Id, Milestone, ObjectType, PersonKind, Star};

pub(super) fn perform(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    event: &str,
    action: &str,
    params: &ActionParams,
) -> Outcome {
    match (event, action) {
        ("star", "created") => star(tx, context, params),
        ("star", "deleted") => unstar(tx, context, params),
        ("watch", "started") => {
            tx.announce(context, "watch", Some("started"), |_, _| json!({}));
            Ok(json!({}))
        }
        ("fork", "") => fork(tx, context),
        ("milestone", "created") => Ok(json!({"id": create_milestone(tx, context, params)?})),
        ("milestone", "closed") => close_milestone(tx, context, params),
        ("member", "added") => add_member(tx, context, params),
        ("repository", "created") => create(tx, context, params),
        ("repository", "publicized") => publicize(tx, context),
        ("repository", "archived") => archive(tx, context),
        ("repository", "renamed") => rename(tx, context, params),
        ("repository", "transferred") => transfer(tx, context, params),
        _ => reject(format!("unknown action {event}.{action}")),
    }
}

fn star(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let user = if params.login.is_some() {
        tx.choose_person(context.account, params.login.as_deref())?
    } else {
        // Most stars come from users outside the account.
        let login = format!("visitor-{}", &tx.world.random_sha()[..8]);
        tx.world.add_person(&login, PersonKind::User)
    };
    let at = tx.at;
    let repo = tx.repository_mut(context.repository)?;
    if repo.stars.iter().any(|star| star.user == user) {
        return reject("the user has already starred the repository");
    }
    repo.stars.push(Star { user, at, fact: 0 });
    repo.invalidate_object();
    let starred_at = crate::clock::iso(at);
    let fact = facts::starred(context.repository, user, at);
    let seq = tx.publish(
        context.by(user),
        "star",
        Some("created"),
        fact,
        |_, _| json!({"starred_at": starred_at}),
    );
    let repo = tx.repository_mut(context.repository)?;
    if let Some(star) = repo.stars.iter_mut().find(|star| star.user == user) {
        star.fact = seq;
    }
    Ok(json!({"id": user, "login": tx.world.login(user)}))
}

fn unstar(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let user = match &params.login {
        Some(login) => Some(tx.choose_person(context.account, Some(login))?),
        None => None,
    };
    let now = tx.at;
    let repo = tx.repository_mut(context.repository)?;
    let at = repo
        .stars
        .iter()
        .rposition(|star| user.is_none_or(|user| user == star.user));
    let Some(at) = at else {
        if user.is_some() {
            return reject("the user has not starred the repository");
        }
        star(tx, context, &ActionParams::default())?;
        return unstar(tx, context, params);
    };
    let star = repo.stars.remove(at);
    repo.updated_at = now;
    repo.invalidate_object();
    tx.service.core.ledger.hide(&[star.fact]);
    let fact = facts::unstarred(context.repository, star.user, now);
    tx.publish(
        context.by(star.user),
        "star",
        Some("deleted"),
        fact,
        |_, _| json!({"starred_at": null}),
    );
    Ok(json!({"id": star.user, "login": tx.world.login(star.user)}))
}

fn fork(tx: &mut Transaction<'_>, context: ActionContext) -> Outcome {
    let login = format!("forker-{}", &tx.world.random_sha()[..8]);
    let owner = tx.world.add_person(&login, PersonKind::User);
    let name = tx.repository(context.repository)?.name.clone();
    let forkee = tx.world.add_repository(owner, &name, tx.at);
    tx.repository_mut(forkee)?.fork_of = Some(context.repository);
    let repo = tx.repository_mut(context.repository)?;
    repo.forks += 1;
    repo.invalidate_object();
    let fact = facts::forked(forkee);
    tx.publish(context.by(owner), "fork", None, fact, |world, _| {
        let fork = world.repositories.get(&forkee);
        json!({"forkee": fork.map(|fork| render::repository(world, fork))})
    });
    Ok(json!({"id": forkee, "full_name": format!("{login}/{name}")}))
}

fn create_milestone(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Result<Id, ActionError> {
    let id = tx.world.next_id(ObjectType::Milestone);
    let (at, creator) = (tx.at, context.actor);
    let repo = tx.repository_mut(context.repository)?;
    let number = repo
        .milestones
        .iter()
        .map(|entry| entry.number)
        .max()
        .unwrap_or(0)
        + 1;
    let title = params
        .title
        .clone()
        .unwrap_or_else(|| format!("Milestone {number}"));
    let (created_at, updated_at, closed_at) = (at, at, None);
    repo.milestones.push(Milestone {
        id,
        number,
        title,
        creator,
        created_at,
        updated_at,
        closed_at,
    });
    publish_milestone(tx, context, "created", id, facts::milestone_created(id));
    Ok(id)
}

/// An open milestone, created if there is none.
pub(super) fn open_milestone(
    tx: &mut Transaction<'_>,
    context: ActionContext,
) -> Result<Id, ActionError> {
    let repo = tx.repository(context.repository)?;
    match repo
        .milestones
        .iter()
        .rfind(|entry| entry.closed_at.is_none())
        .map(|entry| entry.id)
    {
        Some(id) => Ok(id),
        None => create_milestone(tx, context, &ActionParams::default()),
    }
}

fn publish_milestone(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &'static str,
    id: Id,
    fact: Fact,
) {
    tx.publish(context, "milestone", Some(action), fact, |world, repo| {
        let entry = repo.milestones.iter().find(|entry| entry.id == id);
        json!({"milestone": entry.map(|entry| render::milestone(world, repo, entry))})
    });
}

fn close_milestone(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    params: &ActionParams,
) -> Outcome {
    let id = match params.number {
        None => open_milestone(tx, context)?,
        Some(number) => {
            let repo = tx.repository(context.repository)?;
            let matches = |entry: &&Milestone| entry.number == number && entry.closed_at.is_none();
            let known = repo.milestones.iter().find(matches).map(|entry| entry.id);
            known.ok_or_else(|| ActionError(format!("unknown open milestone {number}")))?
        }
    };
    let at = tx.at;
    let repo = tx.repository_mut(context.repository)?;
    if let Some(entry) = repo.milestones.iter_mut().find(|entry| entry.id == id) {
        entry.closed_at = Some(at);
        entry.updated_at = at;
    }
    publish_milestone(tx, context, "closed", id, facts::milestone_closed(id, at));
    Ok(json!({ "id": id }))
}

fn add_member(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let login = match &params.login {
        Some(login) => login.clone(),
        None => format!("guest-{}", &tx.world.random_sha()[..8]),
    };
    let member = tx.world.add_person(&login, PersonKind::User);
    let at = tx.at;
    let repo = tx.repository_mut(context.repository)?;
    repo.collaborators.push(member);
    repo.updated_at = at;
    repo.invalidate_object();
    let fact = facts::member_added(context.repository, member, at);
    tx.publish(context, "member", Some("added"), fact, |world, _| {
        json!({"member": render::user(world, member), "changes": {"permission": {"to": "write"}}})
    });
    Ok(json!({"id": member, "login": login}))
}

/// Sends and records a change of the repository.
fn record_change(
    tx: &mut Transaction<'_>,
    context: ActionContext,
    action: &'static str,
    extra: Value,
) -> Outcome {
    let at = tx.at;
    let repo = tx.repository_mut(context.repository)?;
    repo.updated_at = at;
    repo.invalidate_object();
    let announced = tx.announce(context, "repository", Some(action), |_, _| extra);
    if let Some(fact) = facts::repository_changed(context.repository, action, at) {
        tx.record(context, fact, announced);
    }
    let repo = tx.repository(context.repository)?;
    Ok(json!({"id": context.repository, "full_name": tx.world.full_name(repo)}))
}

fn create(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let name = match &params.name {
        Some(name) => name.clone(),
        None => format!("project-{}", &tx.world.random_sha()[..6]),
    };
    let owner = tx.world.login(context.account).to_owned();
    if is_name_taken(tx, &owner, &name) {
        return reject(format!("{owner}/{name} already exists"));
    }
    let repository = tx.world.add_repository(context.account, &name, tx.at);
    record_change(
        tx,
        ActionContext {
            repository,
            ..context
        },
        "created",
        json!({}),
    )
}

fn publicize(tx: &mut Transaction<'_>, context: ActionContext) -> Outcome {
    tx.repository_mut(context.repository)?.private = false;
    let result = record_change(tx, context, "publicized", json!({}));
    tx.announce(context, "public", None, |_, _| json!({}));
    result
}

fn archive(tx: &mut Transaction<'_>, context: ActionContext) -> Outcome {
    tx.repository_mut(context.repository)?.archived = true;
    record_change(tx, context, "archived", json!({}))
}

fn rename(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let repo = tx.repository(context.repository)?;
    let (owner, old_name) = (repo.owner, repo.name.clone());
    let name = match &params.name {
        Some(name) => name.clone(),
        None => format!("{old_name}-next"),
    };
    let login = tx.world.login(owner).to_owned();
    if is_name_taken(tx, &login, &name) {
        return reject(format!("{login}/{name} already exists"));
    }
    tx.world.rename_repository(context.repository, owner, &name);
    record_change(
        tx,
        context,
        "renamed",
        json!({"changes": {"repository": {"name": {"from": old_name}}}}),
    )
}

/// Whether a repository has this name now; previous names are free.
fn is_name_taken(tx: &Transaction<'_>, owner: &str, name: &str) -> bool {
    let id = tx.world.repository_id(owner, name);
    id.is_some_and(|id| tx.world.is_current_name(id, owner, name))
}

/// Transfers the repository to another account, whose installation gets the event.
fn transfer(tx: &mut Transaction<'_>, context: ActionContext, params: &ActionParams) -> Outcome {
    let Some(target) = params
        .to
        .as_ref()
        .and_then(|login| tx.world.account_by_login(login))
    else {
        return reject("`to` must name an account");
    };
    let (target, login) = (target.id, tx.world.login(target.id).to_owned());
    let repo = tx.repository(context.repository)?;
    let old_owner = repo.owner;
    let name = params.name.clone().unwrap_or_else(|| repo.name.clone());
    if old_owner == target || is_name_taken(tx, &login, &name) {
        return reject(format!("{login}/{name} already exists"));
    }
    super::selection::remove_from_installation(tx, context.repository);
    tx.world
        .rename_repository(context.repository, target, &name);
    tx.service
        .core
        .ledger
        .move_container(context.repository, &login);
    let key = match tx.world.people.get(&old_owner).map(|person| person.kind) {
        Some(PersonKind::Organization) => "organization",
        _ => "user",
    };
    let from = json!({"changes": {"owner": {"from": {key: render::user(tx.world, old_owner)}}}});
    record_change(
        tx,
        ActionContext {
            account: target,
            ..context
        },
        "transferred",
        from,
    )
}
