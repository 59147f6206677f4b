//! Other read endpoints: users, projects, statuses, types, fields and versions.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Reply, SiteRequest};
use crate::jira::render::{
    category_json, issue_type_json, priority_json, project_json, status_json, time, version_json,
};
use crate::jira::world::{Project, STATUSES, Site, World};

pub(super) fn respond(request: &SiteRequest<'_>, world: &World, rest: &[&str]) -> Reply {
    let site = request.find_site(world);
    let object = match rest {
        ["myself"] => world.person_json(site, &request.caller.person),
        ["user"] => match people(world, site, |id, _| id == request.text("accountId")).pop() {
            Some(person) => person,
            None => return Reply::not_found(),
        },
        ["user" | "users", "search"] | ["users"] => return users(request, world, site),
        ["serverInfo"] => server_info(request, site),
        ["status"] => (0..STATUSES.len())
            .map(|status| status_json(site, status))
            .collect(),
        ["status", id] => match STATUSES
            .iter()
            .position(|(status, name, _)| status == id || name == id)
        {
            Some(at) => status_json(site, at),
            None => return Reply::not_found(),
        },
        ["statuscategory"] => (0..3).map(|at| category_json(site, at)).collect(),
        ["issuetype"] => json!([issue_type_json(site)]),
        ["priority"] => json!([priority_json(site)]),
        ["field"] => fields(),
        ["project"] => site
            .projects
            .values()
            .map(|project| project_json(site, project))
            .collect(),
        ["project", "search"] => return projects(request, site),
        ["project", id, rest @ ..] => return project(request, site, id, rest),
        ["version", id] => {
            let found = id.parse().ok().and_then(|id: u64| site.versions.get(&id));
            match found {
                Some(version) => {
                    request
                        .service
                        .core
                        .ledger
                        .mark_polled(version.facts.clone());
                    version_json(site, version)
                }
                None => return Reply::not_found(),
            }
        }
        _ => return Reply::not_found(),
    };
    Reply::ok(object)
}

/// People of a site whose id and name match.
fn people(world: &World, site: &Site, matches: impl Fn(&str, &str) -> bool) -> Vec<Value> {
    site.people
        .iter()
        .filter(|id| {
            world
                .people
                .get(*id)
                .is_some_and(|person| matches(id, &person.name))
        })
        .map(|id| world.person_json(site, id))
        .collect()
}

/// User search: an array without page fields.
fn users(request: &SiteRequest<'_>, world: &World, site: &Site) -> Reply {
    let query = request.text("query").to_ascii_lowercase();
    let found = people(world, site, |_, name| {
        name.to_ascii_lowercase().contains(&query)
    });
    let page = found
        .into_iter()
        .skip(request.number("startAt", 0))
        .take(request.number("maxResults", 50));
    Reply::ok(page.collect())
}

fn server_info(request: &SiteRequest<'_>, site: &Site) -> Value {
    let built = DateTime::<Utc>::from_timestamp(1_790_000_000, 0).unwrap_or_default();
    json!({
        "baseUrl": site.url, "displayUrl": site.url, "version": "1001.0.0-SNAPSHOT",
        "versionNumbers": [1001, 0, 0], "deploymentType": "Cloud", "buildNumber": 100_286,
        "buildDate": time(built.timestamp_millis()),
        "serverTime": time(request.service.core.clock.seconds() * 1_000),
        "scmInfo": "b5a1e2f", "serverTitle": "Jira", "serverTimeZone": "Etc/UTC",
    })
}

fn fields() -> Value {
    let field = |id: &str, name: &str, kind: &str| {
        json!({
            "id": id, "key": id, "name": name, "custom": false, "orderable": true,
            "navigable": true, "searchable": true, "clauseNames": [id],
            "schema": { "type": kind, "system": id },
        })
    };
    json!([
        field("summary", "Summary", "string"),
        field("status", "Status", "status"),
        field("assignee", "Assignee", "user"),
        field("updated", "Updated", "datetime"),
    ])
}

fn projects(request: &SiteRequest<'_>, site: &Site) -> Reply {
    let (states, keys) = (request.list("status"), request.list("keys"));
    // The simulator has no archived or deleted projects.
    let includes_live = states.is_empty() || states.iter().any(|state| state == "live");
    let all = site
        .projects
        .values()
        .filter(|project| includes_live && (keys.is_empty() || keys.contains(&project.key)))
        .map(|project| project_json(site, project))
        .collect();
    request.page(all, "values", 50)
}

fn project(request: &SiteRequest<'_>, site: &Site, id: &str, rest: &[&str]) -> Reply {
    let project = site
        .projects
        .values()
        .find(|project| project.id == id || project.key == id);
    let Some(project) = project else {
        return Reply::not_found();
    };
    match rest {
        [] => Reply::ok(project_json(site, project)),
        ["version"] => request.page(versions(request, site, project), "values", 50),
        ["versions"] => Reply::ok(Value::Array(versions(request, site, project))),
        ["statuses"] => {
            let mut kind = issue_type_json(site);
            if let Some(kind) = kind.as_object_mut() {
                kind.retain(|name, _| matches!(name.as_str(), "id" | "name" | "self" | "subtask"));
            }
            kind["statuses"] = (0..STATUSES.len())
                .map(|status| status_json(site, status))
                .collect();
            Reply::ok(json!([kind]))
        }
        _ => Reply::not_found(),
    }
}

fn versions(request: &SiteRequest<'_>, site: &Site, project: &Project) -> Vec<Value> {
    let all: Vec<_> = site
        .versions
        .values()
        .filter(|version| version.project == project.id)
        .collect();
    let polled = all.iter().flat_map(|version| version.facts.iter());
    request.service.core.ledger.mark_polled(polled.copied());
    all.into_iter()
        .map(|version| version_json(site, version))
        .collect()
}
