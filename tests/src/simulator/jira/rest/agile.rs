//! Boards and sprints.

use serde_json::{Value, json};

use super::{Ask, Reply};
use crate::simulator::jira::render::{sprint_json, version_json};
use crate::simulator::jira::world::{Site, World};

pub(super) fn answer(ask: &Ask<'_>, world: &World, rest: &[&str]) -> Reply {
    let site = ask.place(world);
    match rest {
        ["board"] => {
            let wanted = ask.listed("type");
            let named = ask.text("name").to_ascii_lowercase();
            let mut all = boards(site);
            all.retain(|board| {
                let text = |name: &str| board[name].as_str().unwrap_or_default();
                (wanted.is_empty() || wanted.iter().any(|one| one == text("type")))
                    && text("name").to_ascii_lowercase().contains(&named)
            });
            ask.window(all, "values", 50)
        }
        ["board", id] => board(site, id).map_or_else(Reply::not_found, Reply::ok),
        ["board", id, ..] if board(site, id).is_none() => Reply::not_found(),
        ["board", id, "sprint"] if **id == site.board.to_string() => sprints(ask, site),
        ["board", _, "sprint"] => Reply::bad("The board does not support sprints"),
        ["board", _, "version"] => {
            let shown = site.versions.values();
            let facts = shown.clone().flat_map(|version| version.facts.iter());
            ask.hub.core.ledger.mark_polled(facts.copied());
            let all = shown
                .map(|version| {
                    let mut object = version_json(site, version);
                    // Here, and only here, it is a number.
                    object["id"] = json!(version.id);
                    object
                })
                .collect();
            ask.window(all, "values", 50)
        }
        ["sprint", id] => {
            let found = id.parse().ok().and_then(|id: u64| site.sprints.get(&id));
            found.map_or_else(Reply::not_found, |sprint| {
                ask.hub.core.ledger.mark_polled(sprint.facts.clone());
                Reply::ok(sprint_json(site, sprint))
            })
        }
        _ => Reply::not_found(),
    }
}

/// One with sprints, and one without.
fn boards(site: &Site) -> Vec<Value> {
    let project = site.projects.values().next();
    let location = project.map(|project| {
        json!({
            "projectId": project.id.parse::<u64>().unwrap_or(0), "projectKey": project.key,
            "projectName": project.name, "displayName": project.name, "name": project.name,
            "projectTypeKey": "software",
        })
    });
    [
        (site.board, "Scrum", "scrum"),
        (site.board + 1, "Kanban", "kanban"),
    ]
    .into_iter()
    .map(|(id, name, kind)| {
        json!({
            "id": id, "self": format!("{}/rest/agile/1.0/board/{id}", site.url),
            "name": name, "type": kind, "location": location, "isPrivate": false,
        })
    })
    .collect()
}

fn board(site: &Site, id: &str) -> Option<Value> {
    let id: u64 = id.parse().ok()?;
    boards(site).into_iter().find(|board| board["id"] == id)
}

fn sprints(ask: &Ask<'_>, site: &Site) -> Reply {
    let states = ask.listed("state");
    let wanted: Vec<_> = site
        .sprints
        .values()
        .filter(|sprint| states.is_empty() || states.iter().any(|one| one == sprint.state))
        .collect();
    let shown = wanted.iter().flat_map(|sprint| sprint.facts.iter());
    ask.hub.core.ledger.mark_polled(shown.copied());
    let all = wanted
        .into_iter()
        .map(|sprint| sprint_json(site, sprint))
        .collect();
    ask.window(all, "values", 50)
}
