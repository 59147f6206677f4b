//! Which repositories an installation covers, and how that changes.

use std::collections::BTreeSet;

use serde_json::json;

use super::lifecycle::{actor, announce, listed, with};
use super::{Act, Outcome, Refused, Stage, refused};
use crate::simulator::github::world::{Id, Installation, Selection};

pub(super) fn selection(stage: &Stage<'_>, act: &Act) -> Result<Selection, Refused> {
    let Some(names) = &act.repositories else {
        return Ok(Selection::All);
    };
    Ok(Selection::Selected(named(stage, act, names)?))
}

fn named(stage: &Stage<'_>, act: &Act, names: &[String]) -> Result<BTreeSet<Id>, Refused> {
    names
        .iter()
        .map(|name| {
            let found = stage.world.repository_id(&act.account, name);
            found.ok_or_else(|| Refused(format!("no repository {}/{name}", act.account)))
        })
        .collect()
}

/// Adds repositories to an installation or takes them out of it.
pub(super) fn select(stage: &mut Stage<'_>, account: Id, add: bool, act: &Act) -> Outcome {
    let names: Vec<String> = act
        .repositories
        .clone()
        .or_else(|| act.repository.clone().map(|name| vec![name]))
        .unwrap_or_default();
    let chosen = named(stage, act, &names)?;
    if chosen.is_empty() {
        return refused("`repositories` must name some");
    }
    let sender = actor(stage, account, act)?;
    with(stage, account, |stage, id| {
        reselect(stage, id, &chosen, add, sender);
        Ok(())
    })
}

fn reselect(stage: &mut Stage<'_>, id: Id, chosen: &BTreeSet<Id>, add: bool, sender: Id) {
    let at = stage.at;
    let Some(found) = stage.world.installations.get(&id) else {
        return;
    };
    let mut covered: BTreeSet<Id> = stage.world.repositories_of(found).into_iter().collect();
    for repository in chosen {
        if add {
            covered.insert(*repository);
        } else {
            covered.remove(repository);
        }
    }
    if let Some(found) = stage.world.installations.get_mut(&id) {
        found.selection = Selection::Selected(covered);
        found.updated_at = at;
    }
    let list: Vec<Id> = chosen.iter().copied().collect();
    let listed = listed(stage, &list);
    let (added, removed) = if add {
        (listed, Vec::new())
    } else {
        (Vec::new(), listed)
    };
    let extra = json!({
        "repository_selection": "selected", "requester": null,
        "repositories_added": added, "repositories_removed": removed,
    });
    let action = if add { "added" } else { "removed" };
    announce(
        stage,
        "installation_repositories",
        action,
        id,
        sender,
        extra,
    );
}

/// A repository leaves its account: the installation there hears that it is gone.
pub(super) fn leave(stage: &mut Stage<'_>, repository: Id) {
    let Some(found) = stage.world.installation_of(repository) else {
        return;
    };
    let (id, all) = (found.id, found.selection == Selection::All);
    let sender = stage
        .world
        .accounts
        .get(&found.account)
        .map_or(found.account, |account| account.admin);
    let listed = listed(stage, &[repository]);
    if let Some(Installation {
        selection: Selection::Selected(ids),
        ..
    }) = stage.world.installations.get_mut(&id)
    {
        ids.remove(&repository);
    }
    let extra = json!({
        "repository_selection": if all { "all" } else { "selected" }, "requester": null,
        "repositories_added": [], "repositories_removed": listed,
    });
    announce(
        stage,
        "installation_repositories",
        "removed",
        id,
        sender,
        extra,
    );
}
