//! Repositories that an installation covers.

use std::collections::BTreeSet;

use serde_json::json;

use super::lifecycle::{actor, announce, render_repositories, with_installation};
use super::{ActionError, ActionParams, Outcome, Transaction, reject};
use crate::github::world::{Id, Installation, Selection};

pub(super) fn selection(
    tx: &Transaction<'_>,
    params: &ActionParams,
) -> Result<Selection, ActionError> {
    let Some(names) = &params.repositories else {
        return Ok(Selection::All);
    };
    Ok(Selection::Selected(repository_ids(tx, params, names)?))
}

fn repository_ids(
    tx: &Transaction<'_>,
    params: &ActionParams,
    names: &[String],
) -> Result<BTreeSet<Id>, ActionError> {
    names
        .iter()
        .map(|name| {
            let found = tx.world.repository_id(&params.account, name);
            found
                .ok_or_else(|| ActionError(format!("unknown repository {}/{name}", params.account)))
        })
        .collect()
}

/// Adds repositories to an installation or removes them.
pub(super) fn select(
    tx: &mut Transaction<'_>,
    account: Id,
    add: bool,
    params: &ActionParams,
) -> Outcome {
    let names: Vec<String> = params
        .repositories
        .clone()
        .or_else(|| params.repository.clone().map(|name| vec![name]))
        .unwrap_or_default();
    let chosen = repository_ids(tx, params, &names)?;
    if chosen.is_empty() {
        return reject("`repositories` must not be empty");
    }
    let sender = actor(tx, account, params)?;
    with_installation(tx, account, |tx, id| {
        change_selection(tx, id, &chosen, add, sender);
        Ok(())
    })
}

fn change_selection(
    tx: &mut Transaction<'_>,
    id: Id,
    chosen: &BTreeSet<Id>,
    add: bool,
    sender: Id,
) {
    let at = tx.at;
    let Some(found) = tx.world.installations.get(&id) else {
        return;
    };
    let mut covered: BTreeSet<Id> = tx.world.repositories_of(found).into_iter().collect();
    for repository in chosen {
        if add {
            covered.insert(*repository);
        } else {
            covered.remove(repository);
        }
    }
    if let Some(found) = tx.world.installations.get_mut(&id) {
        found.selection = Selection::Selected(covered);
        found.updated_at = at;
    }
    let list: Vec<Id> = chosen.iter().copied().collect();
    let rendered = render_repositories(tx, &list);
    let (added, removed) = if add {
        (rendered, Vec::new())
    } else {
        (Vec::new(), rendered)
    };
    let extra = json!({
        "repository_selection": "selected", "requester": null,
        "repositories_added": added, "repositories_removed": removed,
    });
    let action = if add { "added" } else { "removed" };
    announce(tx, "installation_repositories", action, id, sender, extra);
}

/// Removes a repository from the installation of its account, which gets an event.
pub(super) fn remove_from_installation(tx: &mut Transaction<'_>, repository: Id) {
    let Some(found) = tx.world.installation_of(repository) else {
        return;
    };
    let (id, all) = (found.id, found.selection == Selection::All);
    let sender = tx
        .world
        .accounts
        .get(&found.account)
        .map_or(found.account, |account| account.admin);
    let rendered = render_repositories(tx, &[repository]);
    if let Some(Installation {
        selection: Selection::Selected(ids),
        ..
    }) = tx.world.installations.get_mut(&id)
    {
        ids.remove(&repository);
    }
    let extra = json!({
        "repository_selection": if all { "all" } else { "selected" }, "requester": null,
        "repositories_added": [], "repositories_removed": rendered,
    });
    announce(
        tx,
        "installation_repositories",
        "removed",
        id,
        sender,
        extra,
    );
}
