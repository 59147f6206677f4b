//! Issues, their changelogs and comments.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Reply, SiteRequest, worklogs};
use crate::jira::render::MAX_CHANGELOG_ENTRIES;
use crate::jira::world::{Comment, History, Issue, Site, World};

/// Comments of an issue in search results.
const MAX_COMMENTS: usize = 20;

/// Finds an issue by id or key.
fn find_issue<'s>(site: &'s Site, id: &str) -> Option<&'s Issue> {
    id.parse()
        .ok()
        .and_then(|id: u64| site.issues.get(&id))
        .or_else(|| site.issues.values().find(|issue| issue.key == id))
}

fn ledger_rows(comment: &Comment) -> impl Iterator<Item = u64> + use<> {
    comment.fact.into_iter().chain(comment.edit_fact)
}

/// An issue in search results.
pub(super) fn search_result(
    request: &SiteRequest<'_>,
    world: &World,
    issue: &Issue,
    fields: &[String],
    with_changelog: bool,
) -> Value {
    let mut polled = issue.facts.clone();
    if with_changelog {
        let newest = issue.histories.iter().rev().take(MAX_CHANGELOG_ENTRIES);
        polled.extend(newest.flat_map(|history| &history.facts));
    }
    if fields
        .iter()
        .any(|field| field == "comment" || field == "*all")
    {
        polled.extend(
            issue
                .comments
                .values()
                .take(MAX_COMMENTS)
                .flat_map(ledger_rows),
        );
    }
    request.service.core.ledger.mark_polled(polled);
    world.search_result_json(
        request.find_site(world),
        issue,
        fields,
        MAX_COMMENTS,
        with_changelog,
    )
}

pub(super) fn respond(
    request: &SiteRequest<'_>,
    world: &World,
    id: &str,
    rest: &[&str],
    version: u8,
) -> Reply {
    let site = request.find_site(world);
    let Some(issue) = find_issue(site, id) else {
        return Reply::error(
            StatusCode::NOT_FOUND,
            "Issue does not exist or you do not have permission to see it.",
        );
    };
    match rest {
        [] => single_issue(request, world, issue, version),
        ["changelog"] => {
            let polled = issue.histories.iter().flat_map(|history| &history.facts);
            request.service.core.ledger.mark_polled(polled.copied());
            let all = issue
                .histories
                .iter()
                .map(|history| world.history_json(site, history))
                .collect();
            request.page(all, "values", 100)
        }
        ["comment"] => {
            let mut all: Vec<&Comment> = issue.comments.values().collect();
            if request.text("orderBy") == "-created" {
                all.reverse();
            }
            let polled = all.iter().flat_map(|comment| ledger_rows(comment));
            request.service.core.ledger.mark_polled(polled);
            let all = all
                .into_iter()
                .map(|comment| world.comment_json(site, issue.id, comment, version))
                .collect();
            request.page(all, "comments", 50)
        }
        ["comment", id] => {
            let found = id.parse().ok().and_then(|id: u64| issue.comments.get(&id));
            found.map_or_else(Reply::not_found, |comment| {
                request
                    .service
                    .core
                    .ledger
                    .mark_polled(ledger_rows(comment));
                Reply::ok(world.comment_json(site, issue.id, comment, version))
            })
        }
        ["worklog", rest @ ..] => worklogs::issue_worklogs(request, world, issue.id, rest),
        _ => Reply::not_found(),
    }
}

fn single_issue(request: &SiteRequest<'_>, world: &World, issue: &Issue, version: u8) -> Reply {
    let site = request.find_site(world);
    let with_changelog = request
        .list("expand")
        .iter()
        .any(|name| name == "changelog");
    let mut polled = issue.facts.clone();
    if with_changelog {
        let newest = issue.histories.iter().rev().take(MAX_CHANGELOG_ENTRIES);
        polled.extend(newest.flat_map(|history| &history.facts));
    }
    let mut object = world.issue_json(site, issue, version, with_changelog);
    let requested = request.list("fields");
    if let Some(fields) = object["fields"].as_object_mut()
        && !requested.is_empty()
        && !requested
            .iter()
            .any(|field| field == "*all" || field == "*navigable")
    {
        fields.retain(|name, _| requested.contains(name));
    }
    if requested.is_empty()
        || requested
            .iter()
            .any(|field| field == "comment" || field == "*all")
    {
        let comments: Vec<Value> = issue
            .comments
            .values()
            .map(|comment| world.comment_json(site, issue.id, comment, version))
            .collect();
        polled.extend(issue.comments.values().flat_map(ledger_rows));
        object["fields"]["comment"] = json!({
            "self": format!("{}/rest/api/{version}/issue/{}/comment", site.url, issue.id),
            "startAt": 0, "maxResults": comments.len(), "total": comments.len(),
            "comments": comments,
        });
    }
    request.service.core.ledger.mark_polled(polled);
    Reply::ok(object)
}

/// `issue/bulkfetch`: several issues.
pub(super) fn bulk_fetch(request: &SiteRequest<'_>, world: &World) -> Reply {
    let ids = request.list("issueIdsOrKeys");
    if ids.is_empty() || ids.len() > 100 {
        return Reply::bad_request("Between 1 and 100 issues can be fetched.");
    }
    let mut fields = request.list("fields");
    if fields.is_empty() {
        fields.push("*all".to_owned());
    }
    let with_changelog = request
        .list("expand")
        .iter()
        .any(|name| name == "changelog");
    let site = request.find_site(world);
    let (mut issues, mut errors) = (Vec::new(), Vec::new());
    for id in &ids {
        match find_issue(site, id) {
            Some(issue) => issues.push(search_result(
                request,
                world,
                issue,
                &fields,
                with_changelog,
            )),
            None => errors.push(json!({
                "id": id,
                "errorMessage": "Issue does not exist or you do not have permission to see it.",
            })),
        }
    }
    Reply::ok(json!({ "issues": issues, "issueErrors": errors }))
}

/// `changelog/bulkfetch`: changes of several issues, oldest first, in pages.
pub(super) fn bulk_fetch_changelogs(request: &SiteRequest<'_>, world: &World) -> Reply {
    let ids = request.list("issueIdsOrKeys");
    let fields = request.list("fieldIds");
    if ids.is_empty() || ids.len() > 1_000 || fields.len() > 10 {
        return Reply::bad_request(
            "Between 1 and 1000 issues, and at most 10 fields, can be given.",
        );
    }
    let site = request.find_site(world);
    let token = request.body["nextPageToken"].as_str().unwrap_or_default();
    let start: usize = match token {
        "" => 0,
        token => {
            let bytes = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
            match String::from_utf8_lossy(&bytes).parse() {
                Ok(start) => start,
                Err(_) => return Reply::bad_request("The nextPageToken is invalid."),
            }
        }
    };
    let max_results = request.body["maxResults"].as_u64().unwrap_or(1_000);
    let max_results = usize::try_from(max_results)
        .unwrap_or(1_000)
        .clamp(1, 10_000);
    let matches_fields = |history: &&History| {
        let mut changed = history.items.iter().map(|item| item.field);
        fields.is_empty() || changed.any(|field| fields.iter().any(|requested| requested == field))
    };
    let all: Vec<(&Issue, &History)> = ids
        .iter()
        .filter_map(|id| find_issue(site, id))
        .flat_map(|issue| {
            let histories = issue.histories.iter().filter(matches_fields);
            histories.map(move |history| (issue, history))
        })
        .collect();
    let page = &all[start.min(all.len())..all.len().min(start + max_results)];
    let polled = page.iter().flat_map(|(_, history)| &history.facts);
    request.service.core.ledger.mark_polled(polled.copied());
    let mut logs: Vec<Value> = Vec::new();
    for (issue, history) in page {
        let id = issue.id.to_string();
        if logs.last().is_none_or(|log| log["issueId"] != id.as_str()) {
            logs.push(json!({ "issueId": id, "changeHistories": [] }));
        }
        if let Some(histories) = logs
            .last_mut()
            .and_then(|log| log["changeHistories"].as_array_mut())
        {
            histories.push(world.history_json(site, history));
        }
    }
    let mut page_body = json!({ "issueChangeLogs": logs });
    if start + page.len() < all.len() {
        page_body["nextPageToken"] =
            json!(URL_SAFE_NO_PAD.encode((start + page.len()).to_string()));
    }
    Reply::ok(page_body)
}

/// `comment/list`: comments by id.
pub(super) fn list_comments(request: &SiteRequest<'_>, world: &World) -> Reply {
    let site = request.find_site(world);
    let ids = request.list("ids");
    let found: Vec<Value> = site
        .issues
        .values()
        .flat_map(|issue| issue.comments.values().map(move |comment| (issue, comment)))
        .filter(|(_, comment)| ids.contains(&comment.id.to_string()))
        .map(|(issue, comment)| {
            request
                .service
                .core
                .ledger
                .mark_polled(ledger_rows(comment));
            world.comment_json(site, issue.id, comment, 3)
        })
        .collect();
    request.page(found, "values", 1_000)
}
