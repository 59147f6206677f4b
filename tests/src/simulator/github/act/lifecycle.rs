//! The app's life in an account: requested, installed, changed, suspended,
//! removed; and what happens to users.

use serde_json::{Value, json};

use super::selection::{select, selection};
use super::{Act, Outcome, Refused, Stage, refused};
use crate::simulator::github::render;
use crate::simulator::github::webhooks::Event;
use crate::simulator::github::world::{Id, InstallRequest, Installation, Numbered, Selection};

/// Carries out a lifecycle action; `None` if the action is of another kind.
pub(super) fn perform(stage: &mut Stage<'_>, account: Id, act: &Act) -> Option<Outcome> {
    let outcome = match act.action.as_str() {
        "installation.created" => create(stage, account, act),
        "installation.requested" => request(stage, account, act),
        "installation.approved" => approve(stage, account, act),
        "installation.deleted" => with(stage, account, uninstall),
        "installation.reinstalled" => reinstall(stage, account, act),
        "installation.suspend" => with(stage, account, |stage, id| suspend(stage, id, true)),
        "installation.unsuspend" => with(stage, account, |stage, id| suspend(stage, id, false)),
        "installation.new_permissions_accepted" => accept_permissions(stage, account, act),
        "installation_repositories.added" => select(stage, account, true, act),
        "installation_repositories.removed" => select(stage, account, false, act),
        "github_app_authorization.revoked" => revoke(stage, account, act),
        "ping" => Ok(ping(stage)),
        "user.deleted" => delete_user(stage, act),
        _ => return None,
    };
    Some(outcome)
}

pub(super) fn with(
    stage: &mut Stage<'_>,
    account: Id,
    then: impl FnOnce(&mut Stage<'_>, Id) -> Result<(), Refused>,
) -> Outcome {
    let Some(id) = stage
        .world
        .installation_for(account)
        .map(|installation| installation.id)
    else {
        return refused("the app is not installed there");
    };
    then(stage, id)?;
    Ok(json!({"installation_id": id}))
}

/// Who does it: the named actor, or the account's admin.
pub(super) fn actor(stage: &Stage<'_>, account: Id, act: &Act) -> Result<Id, Refused> {
    match &act.actor {
        Some(login) => stage
            .world
            .person_id(login)
            .ok_or_else(|| Refused(format!("no user {login}"))),
        None => Ok(stage
            .world
            .accounts
            .get(&account)
            .map_or(account, |account| account.admin)),
    }
}

/// Sends an event about an installation itself. These reach the app whatever
/// it subscribed to.
pub(super) fn announce(
    stage: &mut Stage<'_>,
    name: &'static str,
    action: &'static str,
    installation: Id,
    sender: Id,
    extra: Value,
) -> bool {
    let Some(found) = stage.world.installations.get(&installation) else {
        return false;
    };
    let mut payload = extra;
    payload["action"] = json!(action);
    payload["installation"] =
        render::installation_in_webhook(stage.world, found, action == "deleted");
    payload["sender"] = render::user_or_null(stage.world, sender);
    let account = stage.world.login(found.account).to_owned();
    let (action, installation) = (Some(action), Some(installation));
    stage.send(Event {
        name,
        action,
        account,
        installation,
        repository: None,
        payload,
    })
}

pub(super) fn listed(stage: &Stage<'_>, repositories: &[Id]) -> Vec<Value> {
    repositories
        .iter()
        .filter_map(|id| stage.world.repositories.get(id))
        .map(|found| render::short_repository(stage.world, found))
        .collect()
}

/// Installs the app, or finds it installed; answers the id and whether it is new.
pub(crate) fn install(
    stage: &mut Stage<'_>,
    account: Id,
    sender: Id,
    requester: Option<Id>,
    selection: Selection,
) -> (Id, bool) {
    if let Some(found) = stage.world.installation_for(account) {
        return (found.id, false);
    }
    let id = stage.world.number(Numbered::Installation);
    let installation = Installation {
        id,
        account,
        selection,
        permissions: stage.world.permissions.clone(),
        created_at: stage.at,
        updated_at: stage.at,
        suspended_at: None,
        suspended_by: None,
    };
    let covered = stage.world.repositories_of(&installation);
    stage.world.installations.insert(id, installation);
    stage
        .world
        .requests
        .retain(|request| request.account != account);
    let mut extra = json!({ "repositories": listed(stage, &covered) });
    if let Some(requester) = requester {
        extra["requester"] = render::user(stage.world, requester);
    }
    announce(stage, "installation", "created", id, sender, extra);
    (id, true)
}

fn create(stage: &mut Stage<'_>, account: Id, act: &Act) -> Outcome {
    let sender = actor(stage, account, act)?;
    let selection = selection(stage, act)?;
    let (id, new) = install(stage, account, sender, None, selection);
    Ok(json!({"installation_id": id, "created": new}))
}

/// A member asks the owners to install the app.
pub(crate) fn request_installation(stage: &mut Stage<'_>, account: Id, requester: Id) {
    let asked = stage
        .world
        .requests
        .iter()
        .any(|request| request.account == account);
    if !asked && stage.world.installation_for(account).is_none() {
        stage
            .world
            .requests
            .push(InstallRequest { account, requester });
    }
}

fn request(stage: &mut Stage<'_>, account: Id, act: &Act) -> Outcome {
    let requester = match &act.actor {
        Some(_) => actor(stage, account, act)?,
        // Whoever must ask is not the admin.
        None => stage
            .world
            .accounts
            .get(&account)
            .and_then(|found| found.members.last())
            .map_or(account, |id| *id),
    };
    request_installation(stage, account, requester);
    Ok(json!({"requested": true}))
}

fn approve(stage: &mut Stage<'_>, account: Id, act: &Act) -> Outcome {
    let pending = stage
        .world
        .requests
        .iter()
        .find(|request| request.account == account);
    let Some(requester) = pending.map(|request| request.requester) else {
        return refused("nobody has asked for an installation there");
    };
    let sender = actor(stage, account, act)?;
    let selection = selection(stage, act)?;
    let (id, _) = install(stage, account, sender, Some(requester), selection);
    Ok(json!({"installation_id": id, "requester": stage.world.login(requester)}))
}

/// Removes an installation: its tokens die, and the app hears of it.
pub(crate) fn uninstall(stage: &mut Stage<'_>, id: Id) -> Result<(), Refused> {
    let Some(found) = stage.world.installations.get(&id) else {
        return refused("no such installation");
    };
    let covered = stage.world.repositories_of(found);
    let sender = stage
        .world
        .accounts
        .get(&found.account)
        .map_or(found.account, |account| account.admin);
    let extra = json!({"repositories": listed(stage, &covered)});
    announce(stage, "installation", "deleted", id, sender, extra);
    stage.world.installations.remove(&id);
    stage.hub.tokens.forget_installation(id);
    Ok(())
}

fn reinstall(stage: &mut Stage<'_>, account: Id, act: &Act) -> Outcome {
    with(stage, account, uninstall)?;
    create(stage, account, act)
}

/// Suspends or unsuspends an installation.
pub(crate) fn suspend(stage: &mut Stage<'_>, id: Id, suspend: bool) -> Result<(), Refused> {
    let at = stage.at;
    let Some(found) = stage.world.installations.get(&id) else {
        return refused("no such installation");
    };
    if found.suspended_at.is_some() == suspend {
        return refused(if suspend {
            "suspended already"
        } else {
            "not suspended"
        });
    }
    let sender = stage
        .world
        .accounts
        .get(&found.account)
        .map_or(found.account, |account| account.admin);
    if let Some(found) = stage.world.installations.get_mut(&id) {
        found.updated_at = at;
        found.suspended_at = suspend.then_some(at);
        found.suspended_by = suspend.then_some(sender);
    }
    let action = if suspend { "suspend" } else { "unsuspend" };
    announce(stage, "installation", action, id, sender, json!({}));
    Ok(())
}

fn accept_permissions(stage: &mut Stage<'_>, account: Id, act: &Act) -> Outcome {
    let at = stage.at;
    let sender = actor(stage, account, act)?;
    let offered = act
        .permissions
        .clone()
        .unwrap_or_else(|| stage.world.permissions.clone());
    with(stage, account, |stage, id| {
        if let Some(found) = stage.world.installations.get_mut(&id) {
            found.permissions = offered;
            found.updated_at = at;
        }
        announce(
            stage,
            "installation",
            "new_permissions_accepted",
            id,
            sender,
            json!({}),
        );
        Ok(())
    })
}

/// A user takes back the app's authorization: user tokens die at once.
fn revoke(stage: &mut Stage<'_>, account: Id, act: &Act) -> Outcome {
    let user = actor(stage, account, act)?;
    stage.hub.tokens.revoke_grant(user);
    let payload = json!({"action": "revoked", "sender": render::user_or_null(stage.world, user)});
    stage.send(Event {
        name: "github_app_authorization",
        action: Some("revoked"),
        account: act.account.clone(),
        installation: None,
        repository: None,
        payload,
    });
    Ok(json!({"login": stage.world.login(user)}))
}

fn ping(stage: &mut Stage<'_>) -> Value {
    let url = stage.hub.settings().webhook_url.clone();
    let hook_id = stage.hub.app.hook_id;
    let payload = json!({
        "zen": "Keep it logically awesome.", "hook_id": hook_id,
        "hook": render::hook(stage.world, hook_id, &url),
    });
    stage.send(Event {
        name: "ping",
        action: None,
        account: String::new(),
        installation: None,
        repository: None,
        payload,
    });
    json!({})
}

/// Deletes a user: from now on `null` or the ghost stands in their place.
fn delete_user(stage: &mut Stage<'_>, act: &Act) -> Outcome {
    let Some(id) = act
        .login
        .as_ref()
        .and_then(|login| stage.world.person_id(login))
    else {
        return refused("`login` must name a user");
    };
    if let Some(person) = stage.world.people.get_mut(&id) {
        person.ghost = true;
    }
    for account in stage.world.accounts.values_mut() {
        account.members.retain(|member| *member != id);
    }
    for repository in stage.world.repositories.values_mut() {
        repository.forget_rendering();
    }
    Ok(json!({"id": id}))
}
