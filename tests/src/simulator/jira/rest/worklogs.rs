//! Worklogs: of an issue, by their ids, and those that changed.

use serde_json::{Value, json};

use super::{Ask, Reply};
use crate::simulator::jira::world::{Site, World};

/// Worklogs that one page of changes names.
const PAGE: usize = 1_000;

pub(super) fn of_issue(ask: &Ask<'_>, world: &World, issue: u64, rest: &[&str]) -> Reply {
    let site = ask.place(world);
    let all = site
        .worklogs
        .values()
        .filter(|worklog| worklog.issue == issue);
    let show = |worklog| world.worklog_json(site, worklog);
    match rest {
        [] => {
            let all: Vec<_> = all.collect();
            let shown = all.iter().filter_map(|worklog| worklog.fact);
            ask.hub.core.ledger.mark_polled(shown);
            ask.window(all.into_iter().map(show).collect(), "worklogs", 5_000)
        }
        [id] => {
            let found = all.into_iter().find(|one| one.id.to_string() == *id);
            found.map_or_else(Reply::not_found, |worklog| {
                ask.hub.core.ledger.mark_polled(worklog.fact);
                Reply::ok(show(worklog))
            })
        }
        _ => Reply::not_found(),
    }
}

/// `worklog/list`: worklogs by their ids; unknown ones are left out.
pub(super) fn named(ask: &Ask<'_>, world: &World) -> Reply {
    let site = ask.place(world);
    let ids = ask.listed("ids");
    if ids.len() > PAGE {
        return Reply::bad("At most 1000 worklogs can be fetched.");
    }
    let found: Vec<_> = ids
        .iter()
        .filter_map(|id| site.worklogs.get(&id.parse().ok()?))
        .collect();
    let shown = found.iter().filter_map(|worklog| worklog.fact);
    ask.hub.core.ledger.mark_polled(shown);
    Reply::ok(
        found
            .into_iter()
            .map(|worklog| world.worklog_json(site, worklog))
            .collect(),
    )
}

/// `worklog/updated` and `worklog/deleted`: what changed since a moment, in pages; never what
/// changed in the last minute.
pub(super) fn changed(ask: &Ask<'_>, world: &World, which: &str) -> Reply {
    let site = ask.place(world);
    let since: i64 = ask.text("since").parse().unwrap_or(0);
    let delay = ask.hub.settings().worklog_delay_seconds;
    // The present second counts as a whole.
    let until = (ask.hub.core.clock.seconds() + 1 - delay) * 1_000;
    let Some(mut changes) = changes(site, which) else {
        return Reply::not_found();
    };
    changes.retain(|(_, at)| *at >= since && *at <= until);
    changes.sort_unstable_by_key(|(id, at)| (*at, *id));
    let last = changes.len() <= PAGE;
    changes.truncate(PAGE);
    let reached = changes.last().filter(|_| !last).map(|(_, at)| *at);
    let values: Vec<Value> = changes
        .iter()
        .map(|(id, at)| json!({ "worklogId": id, "updatedTime": at, "properties": [] }))
        .collect();
    let page = |since: i64| format!("{}/rest/api/3/worklog/{which}?since={since}", site.url);
    let mut answer = json!({
        "values": values, "since": since, "until": reached.unwrap_or(until.max(since)),
        "self": page(since), "lastPage": last,
    });
    if let Some(reached) = reached {
        answer["nextPage"] = json!(page(reached));
    }
    Reply::ok(answer)
}

/// Ids, and when each changed so.
fn changes(site: &Site, which: &str) -> Option<Vec<(u64, i64)>> {
    match which {
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
