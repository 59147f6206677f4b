//! Lifecycle of installations and users.
//!
//! Installations are requested, created, changed, suspended and deleted; users revoke their
//! authorization or are deleted.

use serde_json::{Value, json};

use super::selection::{select, selection};
use super::{ActionError, ActionParams, Outcome, Transaction, reject};
use crate::github::render;
use crate::github::webhooks::Event;
use crate::github::world::{Id, InstallRequest, Installation, ObjectType, Selection};

/// Performs a lifecycle action; `None` if the action is another one.
pub(super) fn perform(
    tx: &mut Transaction<'_>,
    account: Id,
    params: &ActionParams,
) -> Option<Outcome> {
    let outcome = match params.action.as_str() {
        "installation.created" => create(tx, account, params),
        "installation.requested" => request(tx, account, params),
        "installation.approved" => approve(tx, account, params),
        "installation.deleted" => with_installation(tx, account, uninstall),
        "installation.reinstalled" => reinstall(tx, account, params),
        "installation.suspend" => with_installation(tx, account, |tx, id| suspend(tx, id, true)),
        "installation.unsuspend" => with_installation(tx, account, |tx, id| suspend(tx, id, false)),
        "installation.new_permissions_accepted" => accept_permissions(tx, account, params),
        "installation_repositories.added" => select(tx, account, true, params),
        "installation_repositories.removed" => select(tx, account, false, params),
        "github_app_authorization.revoked" => revoke(tx, account, params),
        "ping" => Ok(ping(tx)),
        "user.deleted" => delete_user(tx, params),
        _ => return None,
    };
    Some(outcome)
}

pub(super) fn with_installation(
    tx: &mut Transaction<'_>,
    account: Id,
    apply: impl FnOnce(&mut Transaction<'_>, Id) -> Result<(), ActionError>,
) -> Outcome {
    let Some(id) = tx
        .world
        .installation_for(account)
        .map(|installation| installation.id)
    else {
        return reject("the app is not installed in this account");
    };
    apply(tx, id)?;
    Ok(json!({"installation_id": id}))
}

/// The given actor, or the account's admin.
pub(super) fn actor(
    tx: &Transaction<'_>,
    account: Id,
    params: &ActionParams,
) -> Result<Id, ActionError> {
    match &params.actor {
        Some(login) => tx
            .world
            .person_id(login)
            .ok_or_else(|| ActionError(format!("unknown user {login}"))),
        None => Ok(tx
            .world
            .accounts
            .get(&account)
            .map_or(account, |account| account.admin)),
    }
}

/// Sends an event of an installation, for which the app needs no subscription.
pub(super) fn announce(
    tx: &mut Transaction<'_>,
    name: &'static str,
    action: &'static str,
    installation: Id,
    sender: Id,
    extra: Value,
) -> bool {
    let Some(found) = tx.world.installations.get(&installation) else {
        return false;
    };
    let mut payload = extra;
    payload["action"] = json!(action);
    payload["installation"] = render::installation_in_webhook(tx.world, found, action == "deleted");
    payload["sender"] = render::user_or_null(tx.world, sender);
    let account = tx.world.login(found.account).to_owned();
    let (action, installation) = (Some(action), Some(installation));
    tx.send(Event {
        name,
        action,
        account,
        installation,
        repository: None,
        payload,
    })
}

pub(super) fn render_repositories(tx: &Transaction<'_>, repositories: &[Id]) -> Vec<Value> {
    repositories
        .iter()
        .filter_map(|id| tx.world.repositories.get(id))
        .map(|found| render::short_repository(tx.world, found))
        .collect()
}

/// Installs the app if necessary; returns the installation and whether it is new.
pub(crate) fn install(
    tx: &mut Transaction<'_>,
    account: Id,
    sender: Id,
    requester: Option<Id>,
    selection: Selection,
) -> (Id, bool) {
    if let Some(found) = tx.world.installation_for(account) {
        return (found.id, false);
    }
    let id = tx.world.next_id(ObjectType::Installation);
    let installation = Installation {
        id,
        account,
        selection,
        permissions: tx.world.permissions.clone(),
        created_at: tx.at,
        updated_at: tx.at,
        suspended_at: None,
        suspended_by: None,
    };
    let covered = tx.world.repositories_of(&installation);
    tx.world.installations.insert(id, installation);
    tx.world
        .requests
        .retain(|request| request.account != account);
    let mut extra = json!({ "repositories": render_repositories(tx, &covered) });
    if let Some(requester) = requester {
        extra["requester"] = render::user(tx.world, requester);
    }
    announce(tx, "installation", "created", id, sender, extra);
    (id, true)
}

fn create(tx: &mut Transaction<'_>, account: Id, params: &ActionParams) -> Outcome {
    let sender = actor(tx, account, params)?;
    let selection = selection(tx, params)?;
    let (id, created) = install(tx, account, sender, None, selection);
    Ok(json!({"installation_id": id, "created": created}))
}

/// Requests the installation on behalf of a member.
pub(crate) fn request_installation(tx: &mut Transaction<'_>, account: Id, requester: Id) {
    let is_requested = tx
        .world
        .requests
        .iter()
        .any(|request| request.account == account);
    if !is_requested && tx.world.installation_for(account).is_none() {
        tx.world
            .requests
            .push(InstallRequest { account, requester });
    }
}

fn request(tx: &mut Transaction<'_>, account: Id, params: &ActionParams) -> Outcome {
    let requester = match &params.actor {
        Some(_) => actor(tx, account, params)?,
        // An admin needs no request.
        None => tx
            .world
            .accounts
            .get(&account)
            .and_then(|found| found.members.last())
            .map_or(account, |id| *id),
    };
    request_installation(tx, account, requester);
    Ok(json!({"requested": true}))
}

fn approve(tx: &mut Transaction<'_>, account: Id, params: &ActionParams) -> Outcome {
    let pending = tx
        .world
        .requests
        .iter()
        .find(|request| request.account == account);
    let Some(requester) = pending.map(|request| request.requester) else {
        return reject("no installation request in this account");
    };
    let sender = actor(tx, account, params)?;
    let selection = selection(tx, params)?;
    let (id, _) = install(tx, account, sender, Some(requester), selection);
    Ok(json!({"installation_id": id, "requester": tx.world.login(requester)}))
}

/// Removes an installation, revokes its tokens and sends an event.
pub(crate) fn uninstall(tx: &mut Transaction<'_>, id: Id) -> Result<(), ActionError> {
    let Some(found) = tx.world.installations.get(&id) else {
        return reject("unknown installation");
    };
    let covered = tx.world.repositories_of(found);
    let sender = tx
        .world
        .accounts
        .get(&found.account)
        .map_or(found.account, |account| account.admin);
    let extra = json!({"repositories": render_repositories(tx, &covered)});
    announce(tx, "installation", "deleted", id, sender, extra);
    tx.world.installations.remove(&id);
    tx.service.tokens.revoke_all_of_installation(id);
    Ok(())
}

fn reinstall(tx: &mut Transaction<'_>, account: Id, params: &ActionParams) -> Outcome {
    with_installation(tx, account, uninstall)?;
    create(tx, account, params)
}

/// Suspends or unsuspends an installation.
pub(crate) fn suspend(tx: &mut Transaction<'_>, id: Id, suspend: bool) -> Result<(), ActionError> {
    let at = tx.at;
    let Some(found) = tx.world.installations.get(&id) else {
        return reject("unknown installation");
    };
    if found.suspended_at.is_some() == suspend {
        return reject(if suspend {
            "the installation is already suspended"
        } else {
            "the installation is not suspended"
        });
    }
    let sender = tx
        .world
        .accounts
        .get(&found.account)
        .map_or(found.account, |account| account.admin);
    if let Some(found) = tx.world.installations.get_mut(&id) {
        found.updated_at = at;
        found.suspended_at = suspend.then_some(at);
        found.suspended_by = suspend.then_some(sender);
    }
    let action = if suspend { "suspend" } else { "unsuspend" };
    announce(tx, "installation", action, id, sender, json!({}));
    Ok(())
}

fn accept_permissions(tx: &mut Transaction<'_>, account: Id, params: &ActionParams) -> Outcome {
    let at = tx.at;
    let sender = actor(tx, account, params)?;
    let permissions = params
        .permissions
        .clone()
        .unwrap_or_else(|| tx.world.permissions.clone());
    with_installation(tx, account, |tx, id| {
        if let Some(found) = tx.world.installations.get_mut(&id) {
            found.permissions = permissions;
            found.updated_at = at;
        }
        announce(
            tx,
            "installation",
            "new_permissions_accepted",
            id,
            sender,
            json!({}),
        );
        Ok(())
    })
}

/// Revokes a user's authorization and user tokens.
fn revoke(tx: &mut Transaction<'_>, account: Id, params: &ActionParams) -> Outcome {
    let user = actor(tx, account, params)?;
    tx.service.tokens.revoke_grant(user);
    let payload = json!({"action": "revoked", "sender": render::user_or_null(tx.world, user)});
    tx.send(Event {
        name: "github_app_authorization",
        action: Some("revoked"),
        account: params.account.clone(),
        installation: None,
        repository: None,
        payload,
    });
    Ok(json!({"login": tx.world.login(user)}))
}

fn ping(tx: &mut Transaction<'_>) -> Value {
    let url = tx.service.settings().webhook_url.clone();
    let hook_id = tx.service.app.hook_id;
    let payload = json!({
        "zen": "Keep it logically awesome.", "hook_id": hook_id,
        "hook": render::hook(tx.world, hook_id, &url),
    });
    tx.send(Event {
        name: "ping",
        action: None,
        account: String::new(),
        installation: None,
        repository: None,
        payload,
    });
    json!({})
}

/// Deletes a user, whom objects then show as `null` or the ghost user.
fn delete_user(tx: &mut Transaction<'_>, params: &ActionParams) -> Outcome {
    let Some(id) = params
        .login
        .as_ref()
        .and_then(|login| tx.world.person_id(login))
    else {
        return reject("`login` must name a user");
    };
    if let Some(person) = tx.world.people.get_mut(&id) {
        person.ghost = true;
    }
    for account in tx.world.accounts.values_mut() {
        account.members.retain(|member| *member != id);
    }
    for repository in tx.world.repositories.values_mut() {
        repository.invalidate_rendering();
    }
    Ok(json!({"id": id}))
}
