//! Lists of events and of calendars, with their pages and sync tokens.

use serde_json::{Value, json};

use super::errors;
use super::event::Event;
use super::expand;
use super::query::{EventQuery, Order};
use super::render::{self, EventView};
use super::settings::Settings;
use super::tokens::{self, PageToken, SyncToken};
use super::world::{ListEntry, Role, World};
use crate::google::api::Call;
use crate::google::error::ApiError;

const EVENTS_PAGE_SIZE: usize = 250;
const MAX_EVENTS_PAGE_SIZE: usize = 2_500;
const CALENDARS_PAGE_SIZE: usize = 100;
const MAX_CALENDARS_PAGE_SIZE: usize = 250;

/// Where a request of a list begins.
struct Start {
    /// Position of the sync token in an incremental list.
    since: Option<u64>,
    /// Latest position at the first page; none yet on the first page.
    end: Option<u64>,
    after: u64,
}

/// Reads the tokens of a request.
fn start(call: &Call<'_>, list: &str, settings: &Settings) -> Result<Start, ApiError> {
    let sync = sync_token(call, list, settings)?;
    if let Some(text) = call.text("pageToken") {
        let page: PageToken = tokens::decode(text)
            .filter(|page: &PageToken| page.list == list)
            .ok_or_else(errors::invalid_page_token)?;
        return Ok(Start {
            since: page.since,
            end: Some(page.end),
            after: page.after,
        });
    }
    Ok(Start {
        since: sync,
        end: None,
        after: sync.unwrap_or(0),
    })
}

/// Position of the sync token of a request.
pub(super) fn sync_token(
    call: &Call<'_>,
    list: &str,
    settings: &Settings,
) -> Result<Option<u64>, ApiError> {
    let Some(text) = call.text("syncToken") else {
        return Ok(None);
    };
    let token: SyncToken = tokens::decode(text)
        .filter(|token: &SyncToken| token.list == list)
        .ok_or_else(errors::invalid_sync_token)?;
    let has_changed = token.parameters != tokens::fingerprint(call.query);
    if has_changed && settings.changed_parameters_expire {
        return Err(errors::full_sync_required());
    }
    Ok(Some(token.position))
}

/// Rows of a page with their positions, and whether more follow.
struct Rows<T> {
    rows: Vec<(u64, T)>,
    has_more: bool,
}

impl<T> Rows<T> {
    /// Takes one page of the remaining rows.
    fn take(rows: impl Iterator<Item = (u64, T)>, size: usize, settings: &Settings) -> Self {
        let mut rows: Vec<_> = rows.take(size + 1).collect();
        let is_cut = rows.len() > size;
        rows.truncate(size);
        Self {
            has_more: is_cut || (settings.empty_last_page && !rows.is_empty()),
            rows,
        }
    }
}

/// Adds the token of the next page, or at the end the sync token.
fn add_token(
    body: &mut Value,
    call: &Call<'_>,
    list: &str,
    start: &Start,
    (end, next, has_sync_token): (u64, Option<u64>, bool),
) {
    if let Some(after) = next {
        let token = PageToken {
            list: list.to_owned(),
            since: start.since,
            end,
            after,
        };
        body["nextPageToken"] = json!(tokens::encode(&token));
    } else if has_sync_token {
        let token = SyncToken {
            list: list.to_owned(),
            position: end,
            parameters: tokens::fingerprint(call.query),
        };
        body["nextSyncToken"] = json!(tokens::encode(&token));
    }
}

fn page_size(
    call: &Call<'_>,
    settings: &Settings,
    default: usize,
    max: usize,
) -> Result<usize, ApiError> {
    let size = call.page_size("maxResults", default, max)?;
    Ok(size.min(settings.max_page_size).max(1))
}

/// A page of the events of a calendar.
pub(super) fn events(
    world: &mut World,
    settings: &Settings,
    call: &Call<'_>,
    calendar_id: &str,
    now: i64,
) -> Result<Value, ApiError> {
    let login = &call.caller.sub;
    let (calendar, role) = world
        .open(login, calendar_id)
        .ok_or_else(errors::not_found)?;
    let id = calendar.id.clone();
    let start = start(call, &id, settings)?;
    let query = EventQuery::parse(call, start.since.is_some(), settings, now)?;
    if let Some(since) = start.since {
        let log = world
            .calendars
            .get_mut(&id)
            .map(|calendar| &mut calendar.log);
        if !log.is_some_and(|log| log.serve_page(since)) {
            return Err(errors::full_sync_required());
        }
    }
    let size = page_size(call, settings, EVENTS_PAGE_SIZE, MAX_EVENTS_PAGE_SIZE)?;
    let calendar = &world.calendars[&id];
    let end = start.end.unwrap_or_else(|| calendar.log.last());
    let after = start.after;
    let page = if query.singles || query.order != Order::Unspecified {
        let rows = if query.singles {
            expand::instances(calendar, &query, now)
        } else {
            query.sorted(calendar).into_iter().cloned().collect()
        };
        let skipped = usize::try_from(after).unwrap_or(usize::MAX);
        Rows::take((1..).zip(rows).skip(skipped), size, settings)
    } else {
        // A full list has later changes as well: its reader may not use the sync token.
        let last = start.since.map_or(u64::MAX, |_| end);
        let rows = calendar.log.between(after, last);
        let rows = rows.filter_map(|(at, id)| Some((at, calendar.events.get(id)?)));
        let rows = rows.filter(|(_, event)| query.accepts(event));
        Rows::take(rows.map(|(at, event)| (at, event.clone())), size, settings)
    };
    let view = EventView {
        world,
        calendar,
        role,
        zone: query.zone,
        max_attendees: query.max_attendees,
    };
    let mut body = render::events_page(calendar, role);
    let last = page.rows.last().map_or(after, |(at, _)| *at);
    let next = page.has_more.then_some(last);
    let has_sync_token = query.has_sync_token();
    add_token(&mut body, call, &id, &start, (end, next, has_sync_token));
    let items = page.rows.iter().map(|(_, event)| view.event(event));
    body["items"] = items.collect();
    Ok(body)
}

/// A page of a person's list of calendars.
pub(super) fn calendars(
    world: &mut World,
    settings: &Settings,
    call: &Call<'_>,
) -> Result<Value, ApiError> {
    let login = &call.caller.sub;
    let name = calendar_list_name(login);
    let start = start(call, &name, settings)?;
    let is_incremental = start.since.is_some();
    if is_incremental {
        check_incremental_list(call)?;
    }
    let (shows_deleted, shows_hidden) = (call.flag("showDeleted")?, call.flag("showHidden")?);
    let min_role = match call.text("minAccessRole") {
        Some(role) => {
            Role::find(role).ok_or_else(|| ApiError::invalid_parameter("minAccessRole"))?
        }
        None => Role::FreeBusyReader,
    };
    let size = page_size(call, settings, CALENDARS_PAGE_SIZE, MAX_CALENDARS_PAGE_SIZE)?;
    let user = world.users.get_mut(login).ok_or_else(errors::not_found)?;
    if let Some(since) = start.since
        && !user.list_log.serve_page(since)
    {
        return Err(errors::full_sync_required());
    }
    let end = start.end.unwrap_or_else(|| user.list_log.last());
    let is_listed = |entry: &&ListEntry| {
        is_incremental
            || ((shows_deleted || !entry.is_deleted)
                && (shows_hidden || !entry.is_hidden)
                && entry.role >= min_role)
    };
    let user = &world.users[login];
    let last = start.since.map_or(u64::MAX, |_| end);
    let rows = user.list_log.between(start.after, last);
    let rows = rows.filter_map(|(at, id)| Some((at, user.list.get(id).filter(is_listed)?)));
    let page = Rows::take(rows, size, settings);
    let updated = user.list.values().map(|entry| entry.updated).max();
    let mut body = json!({
        "kind": "calendar#calendarList", "etag": render::page_etag(updated.unwrap_or(0)),
    });
    let last = page.rows.last().map_or(start.after, |(at, _)| *at);
    let next = page.has_more.then_some(last);
    add_token(&mut body, call, &name, &start, (end, next, true));
    let items = page.rows.iter().filter_map(|(_, entry)| {
        let calendar = world.calendars.get(&entry.calendar)?;
        Some(render::list_entry(user, entry, calendar))
    });
    body["items"] = items.collect();
    Ok(body)
}

/// Name of a person's list of calendars in tokens and channels.
pub(super) fn calendar_list_name(login: &str) -> String {
    format!("calendarList:{login}")
}

/// Rejects parameters that an incremental list of calendars must not have.
fn check_incremental_list(call: &Call<'_>) -> Result<(), ApiError> {
    for name in ["minAccessRole", "showOwnOrganizationOnly"] {
        if call.text(name).is_some() {
            return Err(errors::not_allowed(name));
        }
    }
    for name in ["showDeleted", "showHidden"] {
        if call.text(name) == Some("false") {
            return Err(errors::not_allowed(name));
        }
    }
    Ok(())
}

/// One event of a calendar.
pub(super) fn event(
    world: &World,
    call: &Call<'_>,
    calendar_id: &str,
    event_id: &str,
) -> Result<Value, ApiError> {
    let (calendar, role) = world
        .open(&call.caller.sub, calendar_id)
        .ok_or_else(errors::not_found)?;
    let event: &Event = calendar
        .events
        .get(event_id)
        .ok_or_else(errors::not_found)?;
    if event.is_tombstone() {
        return Err(errors::deleted());
    }
    let view = EventView {
        world,
        calendar,
        role,
        zone: None,
        max_attendees: super::query::max_attendees(call)?,
    };
    Ok(view.event(event))
}

/// One entry of a person's list of calendars.
pub(super) fn calendar(
    world: &World,
    call: &Call<'_>,
    calendar_id: &str,
) -> Result<Value, ApiError> {
    let user = world.users.get(&call.caller.sub);
    let found = user.and_then(|user| {
        let entry = user.entry(calendar_id)?;
        let calendar = world.calendars.get(&entry.calendar)?;
        Some(render::list_entry(user, entry, calendar))
    });
    found.ok_or_else(errors::not_found)
}

/// Checks the query of a watch request, which is that of the list.
pub(super) fn check_watch(
    world: &World,
    settings: &Settings,
    call: &Call<'_>,
    list: &str,
) -> Result<(), ApiError> {
    let Some(position) = sync_token(call, list, settings)? else {
        return Ok(());
    };
    let log = match world.calendars.get(list) {
        Some(calendar) => &calendar.log,
        None => &world.users[&call.caller.sub].list_log,
    };
    if log.accepts(position) {
        return Ok(());
    }
    Err(errors::full_sync_required())
}
