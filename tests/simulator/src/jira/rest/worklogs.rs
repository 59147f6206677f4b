//! Worklogs: of an issue, by id, and lists of changes.

use serde_json::{Value, json};

use super::{Reply, SiteRequest};
use crate::jira::world::{Site, World};

/// Worklogs in one request or page.
const PAGE_SIZE: usize = 1_000;

pub(super) fn issue_worklogs(
    request: &SiteRequest<'_>,
    world: &World,
    issue: u64,
    rest: &[&str],
) -> Reply {
    let site = request.find_site(world);
    let all = site
        .worklogs
        .values()
        .filter(|worklog| worklog.issue == issue);
    let render = |worklog| world.worklog_json(site, worklog);
    match rest {
        [] => {
            let all: Vec<_> = all.collect();
            let polled = all.iter().filter_map(|worklog| worklog.fact);
            request.service.core.ledger.mark_polled(polled);
            request.page(all.into_iter().map(render).collect(), "worklogs", 5_000)
        }
        [id] => {
            let found = all
                .into_iter()
                .find(|worklog| worklog.id.to_string() == *id);
            found.map_or_else(Reply::not_found, |worklog| {
                request.service.core.ledger.mark_polled(worklog.fact);
                Reply::ok(render(worklog))
            })
        }
        _ => Reply::not_found(),
    }
}

/// `worklog/list`: worklogs by id, without unknown ids.
pub(super) fn list(request: &SiteRequest<'_>, world: &World) -> Reply {
    let site = request.find_site(world);
    let ids = request.list("ids");
    if ids.len() > PAGE_SIZE {
        return Reply::bad_request("At most 1000 worklogs can be fetched.");
    }
    let found: Vec<_> = ids
        .iter()
        .filter_map(|id| site.worklogs.get(&id.parse().ok()?))
        .collect();
    let polled = found.iter().filter_map(|worklog| worklog.fact);
    request.service.core.ledger.mark_polled(polled);
    Reply::ok(
        found
            .into_iter()
            .map(|worklog| world.worklog_json(site, worklog))
            .collect(),
    )
}

/// `worklog/updated` and `worklog/deleted`: changes since a time, in pages.
///
/// The last minute is missing, as in Jira (`worklog_delay_seconds`).
pub(super) fn list_changes(request: &SiteRequest<'_>, world: &World, kind: &str) -> Reply {
    let site = request.find_site(world);
    let since: i64 = request.text("since").parse().unwrap_or(0);
    let delay = request.service.settings().worklog_delay_seconds;
    // Includes the whole current second.
    let until = (request.service.core.clock.seconds() + 1 - delay) * 1_000;
    let Some(mut changes) = changes(site, kind) else {
        return Reply::not_found();
    };
    changes.retain(|(_, at)| *at >= since && *at <= until);
    changes.sort_unstable_by_key(|(id, at)| (*at, *id));
    let last = changes.len() <= PAGE_SIZE;
    changes.truncate(PAGE_SIZE);
    let page_end = changes.last().filter(|_| !last).map(|(_, at)| *at);
    let values: Vec<Value> = changes
        .iter()
        .map(|(id, at)| json!({ "worklogId": id, "updatedTime": at, "properties": [] }))
        .collect();
    let page = |since: i64| format!("{}/rest/api/3/worklog/{kind}?since={since}", site.url);
    let mut page_body = json!({
        "values": values, "since": since, "until": page_end.unwrap_or(until.max(since)),
        "self": page(since), "lastPage": last,
    });
    if let Some(page_end) = page_end {
        page_body["nextPage"] = json!(page(page_end));
    }
    Reply::ok(page_body)
}

/// Ids and times of the changes of a kind.
fn changes(site: &Site, kind: &str) -> Option<Vec<(u64, i64)>> {
    match kind {
        "updated" => Some(
            site.worklogs
                .values()
                .map(|worklog| (worklog.id, worklog.created))
                .collect(),
        ),
        "deleted" => Some(site.deleted_worklogs.clone()),
        _ => None,
    }
}
