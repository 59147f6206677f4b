//! Issues, with what is written about them.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Ask, Reply, worklogs};
use crate::simulator::jira::render::CHANGES;
use crate::simulator::jira::world::{Comment, History, Issue, Site, World};

/// Comments that come with an issue of a search.
const COMMENTS: usize = 20;

fn find<'s>(site: &'s Site, id: &str) -> Option<&'s Issue> {
    id.parse()
        .ok()
        .and_then(|id: u64| site.issues.get(&id))
        .or_else(|| site.issues.values().find(|issue| issue.key == id))
}

fn rows_of(comment: &Comment) -> impl Iterator<Item = u64> + use<> {
    comment.fact.into_iter().chain(comment.edit_fact)
}

/// An issue as searches show it.
pub(super) fn row(
    ask: &Ask<'_>,
    world: &World,
    issue: &Issue,
    fields: &[String],
    log: bool,
) -> Value {
    let mut shown = issue.facts.clone();
    if log {
        let newest = issue.histories.iter().rev().take(CHANGES);
        shown.extend(newest.flat_map(|history| &history.facts));
    }
    if fields
        .iter()
        .any(|field| field == "comment" || field == "*all")
    {
        shown.extend(issue.comments.values().take(COMMENTS).flat_map(rows_of));
    }
    ask.hub.core.ledger.mark_polled(shown);
    world.searched(ask.place(world), issue, fields, COMMENTS, log)
}

pub(super) fn about(ask: &Ask<'_>, world: &World, id: &str, rest: &[&str], version: u8) -> Reply {
    let site = ask.place(world);
    let Some(issue) = find(site, id) else {
        return Reply::refused(
            StatusCode::NOT_FOUND,
            "Issue does not exist or you do not have permission to see it.",
        );
    };
    match rest {
        [] => whole(ask, world, issue, version),
        ["changelog"] => {
            let shown = issue.histories.iter().flat_map(|history| &history.facts);
            ask.hub.core.ledger.mark_polled(shown.copied());
            let all = issue
                .histories
                .iter()
                .map(|history| world.history_json(site, history))
                .collect();
            ask.window(all, "values", 100)
        }
        ["comment"] => {
            let mut all: Vec<&Comment> = issue.comments.values().collect();
            if ask.text("orderBy") == "-created" {
                all.reverse();
            }
            let shown = all.iter().flat_map(|comment| rows_of(comment));
            ask.hub.core.ledger.mark_polled(shown);
            let all = all
                .into_iter()
                .map(|comment| world.comment_json(site, issue.id, comment, version))
                .collect();
            ask.window(all, "comments", 50)
        }
        ["comment", id] => {
            let found = id.parse().ok().and_then(|id: u64| issue.comments.get(&id));
            found.map_or_else(Reply::not_found, |comment| {
                ask.hub.core.ledger.mark_polled(rows_of(comment));
                Reply::ok(world.comment_json(site, issue.id, comment, version))
            })
        }
        ["worklog", rest @ ..] => worklogs::of_issue(ask, world, issue.id, rest),
        _ => Reply::not_found(),
    }
}

fn whole(ask: &Ask<'_>, world: &World, issue: &Issue, version: u8) -> Reply {
    let site = ask.place(world);
    let log = ask.listed("expand").iter().any(|one| one == "changelog");
    let mut shown = issue.facts.clone();
    if log {
        let newest = issue.histories.iter().rev().take(CHANGES);
        shown.extend(newest.flat_map(|history| &history.facts));
    }
    let mut object = world.issue_json(site, issue, version, log);
    let wanted = ask.listed("fields");
    if let Some(fields) = object["fields"].as_object_mut()
        && !wanted.is_empty()
        && !wanted
            .iter()
            .any(|field| field == "*all" || field == "*navigable")
    {
        fields.retain(|name, _| wanted.contains(name));
    }
    if wanted.is_empty()
        || wanted
            .iter()
            .any(|field| field == "comment" || field == "*all")
    {
        let comments: Vec<Value> = issue
            .comments
            .values()
            .map(|comment| world.comment_json(site, issue.id, comment, version))
            .collect();
        shown.extend(issue.comments.values().flat_map(rows_of));
        object["fields"]["comment"] = json!({
            "self": format!("{}/rest/api/{version}/issue/{}/comment", site.url, issue.id),
            "startAt": 0, "maxResults": comments.len(), "total": comments.len(),
            "comments": comments,
        });
    }
    ask.hub.core.ledger.mark_polled(shown);
    Reply::ok(object)
}

/// `issue/bulkfetch`: several issues at once.
pub(super) fn several(ask: &Ask<'_>, world: &World) -> Reply {
    let wanted = ask.listed("issueIdsOrKeys");
    if wanted.is_empty() || wanted.len() > 100 {
        return Reply::bad("Between 1 and 100 issues can be fetched.");
    }
    let mut fields = ask.listed("fields");
    if fields.is_empty() {
        fields.push("*all".to_owned());
    }
    let log = ask.listed("expand").iter().any(|one| one == "changelog");
    let site = ask.place(world);
    let (mut issues, mut errors) = (Vec::new(), Vec::new());
    for id in &wanted {
        match find(site, id) {
            Some(issue) => issues.push(row(ask, world, issue, &fields, log)),
            None => errors.push(json!({
                "id": id,
                "errorMessage": "Issue does not exist or you do not have permission to see it.",
            })),
        }
    }
    Reply::ok(json!({ "issues": issues, "issueErrors": errors }))
}

/// `changelog/bulkfetch`: the changes of several issues, oldest first, in pages.
pub(super) fn changes(ask: &Ask<'_>, world: &World) -> Reply {
    let wanted = ask.listed("issueIdsOrKeys");
    let fields = ask.listed("fieldIds");
    if wanted.is_empty() || wanted.len() > 1_000 || fields.len() > 10 {
        return Reply::bad("Between 1 and 1000 issues, and at most 10 fields, can be given.");
    }
    let site = ask.place(world);
    let token = ask.given["nextPageToken"].as_str().unwrap_or_default();
    let start: usize = match token {
        "" => 0,
        token => {
            let bytes = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
            match String::from_utf8_lossy(&bytes).parse() {
                Ok(start) => start,
                Err(_) => return Reply::bad("The nextPageToken is invalid."),
            }
        }
    };
    let most = ask.given["maxResults"].as_u64().unwrap_or(1_000);
    let most = usize::try_from(most).unwrap_or(1_000).clamp(1, 10_000);
    let fits = |history: &&History| {
        let mut named = history.items.iter().map(|item| item.field);
        fields.is_empty() || named.any(|field| fields.iter().any(|one| one == field))
    };
    let all: Vec<(&Issue, &History)> = wanted
        .iter()
        .filter_map(|id| find(site, id))
        .flat_map(|issue| {
            let fitting = issue.histories.iter().filter(fits);
            fitting.map(move |history| (issue, history))
        })
        .collect();
    let page = &all[start.min(all.len())..all.len().min(start + most)];
    let shown = page.iter().flat_map(|(_, history)| &history.facts);
    ask.hub.core.ledger.mark_polled(shown.copied());
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
    let mut answer = json!({ "issueChangeLogs": logs });
    if start + page.len() < all.len() {
        answer["nextPageToken"] = json!(URL_SAFE_NO_PAD.encode((start + page.len()).to_string()));
    }
    Reply::ok(answer)
}

/// `comment/list`: comments by their ids.
pub(super) fn comments_named(ask: &Ask<'_>, world: &World) -> Reply {
    let site = ask.place(world);
    let wanted = ask.listed("ids");
    let found: Vec<Value> = site
        .issues
        .values()
        .flat_map(|issue| issue.comments.values().map(move |comment| (issue, comment)))
        .filter(|(_, comment)| wanted.contains(&comment.id.to_string()))
        .map(|(issue, comment)| {
            ask.hub.core.ledger.mark_polled(rows_of(comment));
            world.comment_json(site, issue.id, comment, 3)
        })
        .collect();
    ask.window(found, "values", 1_000)
}
