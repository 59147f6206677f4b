//! Boards, sprints and a board's versions.

use serde_json::{Value, json};

use super::{Reply, SiteRequest};
use crate::jira::render::{sprint_json, version_json};
use crate::jira::world::{Site, World};

pub(super) fn respond(request: &SiteRequest<'_>, world: &World, rest: &[&str]) -> Reply {
    let site = request.find_site(world);
    match rest {
        ["board"] => {
            let types = request.list("type");
            let name_filter = request.text("name").to_ascii_lowercase();
            let mut all = boards(site);
            all.retain(|board| {
                let text = |name: &str| board[name].as_str().unwrap_or_default();
                (types.is_empty() || types.iter().any(|kind| kind == text("type")))
                    && text("name").to_ascii_lowercase().contains(&name_filter)
            });
            request.page(all, "values", 50)
        }
        ["board", id] => board(site, id).map_or_else(Reply::not_found, Reply::ok),
        ["board", id, ..] if board(site, id).is_none() => Reply::not_found(),
        ["board", id, "sprint"] if **id == site.board.to_string() => sprints(request, site),
        ["board", _, "sprint"] => Reply::bad_request("The board does not support sprints"),
        ["board", _, "version"] => {
            let versions = site.versions.values();
            let facts = versions.clone().flat_map(|version| version.facts.iter());
            request.service.core.ledger.mark_polled(facts.copied());
            let all = versions
                .map(|version| {
                    let mut object = version_json(site, version);
                    // Only this endpoint has a numeric id.
                    object["id"] = json!(version.id);
                    object
                })
                .collect();
            request.page(all, "values", 50)
        }
        ["sprint", id] => {
            let found = id.parse().ok().and_then(|id: u64| site.sprints.get(&id));
            found.map_or_else(Reply::not_found, |sprint| {
                request
                    .service
                    .core
                    .ledger
                    .mark_polled(sprint.facts.clone());
                Reply::ok(sprint_json(site, sprint))
            })
        }
        _ => Reply::not_found(),
    }
}

/// Boards of a site: Scrum with sprints, Kanban without.
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

fn sprints(request: &SiteRequest<'_>, site: &Site) -> Reply {
    let states = request.list("state");
    let selected: Vec<_> = site
        .sprints
        .values()
        .filter(|sprint| states.is_empty() || states.iter().any(|state| state == sprint.state))
        .collect();
    let polled = selected.iter().flat_map(|sprint| sprint.facts.iter());
    request.service.core.ledger.mark_polled(polled.copied());
    let all = selected
        .into_iter()
        .map(|sprint| sprint_json(site, sprint))
        .collect();
    request.page(all, "values", 50)
}
