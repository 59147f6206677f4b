//! Everything else that can be read.

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Caller, Fields, not_found, refusal};
use crate::simulator::jira::Jira;
use crate::simulator::jira::render::{
    person_zone, project_json, sprint_json, status_json, version_json,
};
use crate::simulator::jira::world::{Comment, Issue, STATUSES, Site, World};

/// One window of a list, as most of Jira's lists are.
fn window(query: &Fields, all: Vec<Value>, name: &str, otherwise: usize) -> Value {
    let number = |name: &str, otherwise| {
        query
            .get(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    let (start, most) = (
        number("startAt", 0),
        number("maxResults", otherwise).clamp(1, 1_000),
    );
    let total = all.len();
    let rows: Vec<Value> = all.into_iter().skip(start).take(most).collect();
    let last = start + rows.len() >= total;
    json!({ "startAt": start, "maxResults": most, "total": total, "isLast": last, name: rows })
}

fn find<'s>(site: &'s Site, id: &str) -> Option<&'s Issue> {
    id.parse()
        .ok()
        .and_then(|id: u64| site.issues.get(&id))
        .or_else(|| site.issues.values().find(|issue| issue.key == id))
}

#[expect(clippy::too_many_arguments, reason = "a request has as many parts")]
pub(super) fn answer(
    hub: &Jira,
    world: &World,
    site: &str,
    caller: &Caller,
    method: &Method,
    parts: &[&str],
    query: &Fields,
    given: &Value,
) -> Response {
    let place = &world.sites[site];
    let ok = |value: Value| Json(value).into_response();
    match (method.as_str(), parts) {
        ("GET", ["rest", "agile", "1.0", rest @ ..]) => agile(hub, place, rest, query),
        ("POST", ["rest", "api", "2" | "3", "worklog", "list"]) => {
            let ids: Vec<u64> = given["ids"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_u64)
                .collect();
            let mut shown = Vec::new();
            let rows: Vec<Value> = ids
                .iter()
                .filter_map(|id| place.worklogs.get(id))
                .map(|worklog| {
                    shown.extend(worklog.fact);
                    world.worklog_json(place, worklog)
                })
                .collect();
            hub.core.ledger.mark_polled(shown);
            ok(Value::Array(rows))
        }
        ("GET", ["rest", "api", version @ ("2" | "3"), rest @ ..]) => {
            let version = if *version == "2" { 2 } else { 3 };
            match rest {
                ["issue", id, rest @ ..] => match find(place, id) {
                    Some(issue) => about_issue(hub, world, place, issue, version, rest, query),
                    None => refusal(
                        StatusCode::NOT_FOUND,
                        "Issue does not exist or you do not have permission to see it.",
                    ),
                },
                ["worklog", which] => worklogs(hub, place, which, query),
                ["project", id, rest @ ..] if *id != "search" => {
                    about_project(hub, place, id, rest, query)
                }
                _ => plain(world, place, caller, rest, query),
            }
        }
        _ => not_found(),
    }
}

fn plain(world: &World, site: &Site, caller: &Caller, rest: &[&str], query: &Fields) -> Response {
    let value = match rest {
        ["myself"] => {
            let mut me = world.person_json(site, &caller.person);
            me["timeZone"] = json!(person_zone(&world.people[&caller.person]));
            me
        }
        ["serverInfo"] => json!({
            "baseUrl": site.url, "version": "1001.0.0-SNAPSHOT", "versionNumbers": [1001, 0, 0],
            "deploymentType": "Cloud", "serverTitle": "Jira",
        }),
        ["status"] => (0..STATUSES.len()).map(status_json).collect(),
        ["status", id] => match STATUSES.iter().position(|(known, ..)| known == id) {
            Some(at) => status_json(at),
            None => return not_found(),
        },
        ["field"] => json!([{ "id": "summary", "key": "summary", "name": "Summary",
                              "custom": false, "clauseNames": ["summary"] }]),
        ["project"] => site
            .projects
            .values()
            .map(|one| project_json(site, one))
            .collect(),
        ["project", "search"] => {
            let all = site
                .projects
                .values()
                .map(|one| project_json(site, one))
                .collect();
            window(query, all, "values", 50)
        }
        _ => return not_found(),
    };
    Json(value).into_response()
}

fn about_project(hub: &Jira, site: &Site, id: &str, rest: &[&str], query: &Fields) -> Response {
    let project = site
        .projects
        .values()
        .find(|project| project.id == id || project.key == id);
    let Some(project) = project else {
        return not_found();
    };
    let versions = || -> Vec<Value> {
        let all: Vec<_> = site
            .versions
            .values()
            .filter(|version| version.project == project.id)
            .collect();
        hub.core
            .ledger
            .mark_polled(all.iter().flat_map(|version| version.facts.iter().copied()));
        all.into_iter()
            .map(|version| version_json(site, version))
            .collect()
    };
    match rest {
        [] => Json(project_json(site, project)).into_response(),
        ["version"] => Json(window(query, versions(), "values", 50)).into_response(),
        ["versions"] => Json(Value::Array(versions())).into_response(),
        _ => not_found(),
    }
}

fn about_issue(
    hub: &Jira,
    world: &World,
    site: &Site,
    issue: &Issue,
    version: u8,
    rest: &[&str],
    query: &Fields,
) -> Response {
    let show = |comment: &Comment| world.comment_json(site, issue.id, comment, version);
    match rest {
        [] => {
            let log = query
                .get("expand")
                .is_some_and(|text| text.contains("changelog"));
            hub.core.ledger.mark_polled(issue.facts.iter().copied());
            Json(world.issue_json(site, issue, version, log)).into_response()
        }
        ["changelog"] => {
            let shown = issue.histories.iter().flat_map(|history| &history.facts);
            hub.core.ledger.mark_polled(shown.copied());
            let all = issue
                .histories
                .iter()
                .map(|history| world.history_json(site, history))
                .collect();
            Json(window(query, all, "values", 100)).into_response()
        }
        ["comment"] => {
            let mut all: Vec<&Comment> = issue.comments.values().collect();
            if query
                .get("orderBy")
                .is_some_and(|order| order == "-created")
            {
                all.reverse();
            }
            let shown = all
                .iter()
                .flat_map(|one| one.fact.iter().chain(&one.edit_fact));
            hub.core.ledger.mark_polled(shown.copied());
            let all = all.into_iter().map(show).collect();
            Json(window(query, all, "comments", 50)).into_response()
        }
        ["comment", id] => {
            let found = id.parse().ok().and_then(|id: u64| issue.comments.get(&id));
            found.map_or_else(not_found, |comment| Json(show(comment)).into_response())
        }
        ["worklog"] => {
            let all = site
                .worklogs
                .values()
                .filter(|worklog| worklog.issue == issue.id)
                .map(|worklog| world.worklog_json(site, worklog))
                .collect();
            Json(window(query, all, "worklogs", 50)).into_response()
        }
        _ => not_found(),
    }
}

/// Worklogs that changed since a moment; never those of the last minute.
fn worklogs(hub: &Jira, site: &Site, which: &str, query: &Fields) -> Response {
    let since: i64 = query
        .get("since")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    // The present second counts as a whole.
    let until = (hub.core.clock.seconds() + 1 - hub.settings().worklog_delay_seconds) * 1_000;
    let values: Vec<Value> = match which {
        "updated" => site
            .worklogs
            .values()
            .filter(|worklog| worklog.created >= since && worklog.created <= until)
            .map(|worklog| {
                json!({ "worklogId": worklog.id, "updatedTime": worklog.created, "properties": [] })
            })
            .collect(),
        "deleted" => Vec::new(),
        _ => return not_found(),
    };
    Json(json!({ "values": values, "since": since, "until": until.max(since), "lastPage": true }))
        .into_response()
}

fn agile(hub: &Jira, site: &Site, rest: &[&str], query: &Fields) -> Response {
    match rest {
        ["board"] => {
            let all = vec![
                json!({ "id": site.board, "name": "Scrum", "type": "scrum" }),
                json!({ "id": site.board + 1, "name": "Kanban", "type": "kanban" }),
            ];
            Json(window(query, all, "values", 50)).into_response()
        }
        ["board", id, "sprint"] if **id == site.board.to_string() => {
            let states = query.get("state").cloned().unwrap_or_default();
            let wanted: Vec<_> = site
                .sprints
                .values()
                .filter(|sprint| {
                    states.is_empty() || states.split(',').any(|one| one == sprint.state)
                })
                .collect();
            hub.core.ledger.mark_polled(
                wanted
                    .iter()
                    .flat_map(|sprint| sprint.facts.iter().copied()),
            );
            let all = wanted
                .into_iter()
                .map(|sprint| sprint_json(site, sprint))
                .collect();
            Json(window(query, all, "values", 50)).into_response()
        }
        ["board", _, "sprint"] => refusal(
            StatusCode::BAD_REQUEST,
            "The board does not support sprints",
        ),
        ["sprint", id] => {
            let found = id.parse().ok().and_then(|id: u64| site.sprints.get(&id));
            found.map_or_else(not_found, |sprint| {
                Json(sprint_json(site, sprint)).into_response()
            })
        }
        _ => not_found(),
    }
}
