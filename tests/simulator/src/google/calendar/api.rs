//! Methods of the API, version 3.

use std::sync::Arc;

use axum::http::Method;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::world::{Origin, World};
use super::{GoogleCalendar, errors, list};
use crate::google::Google;
use crate::google::api::{Call, Endpoint, Product, Reply};
use crate::google::channels::{ChannelKind, Watched};
use crate::google::error::ApiError;

macro_rules! scopes {
    ($($name:literal),*) => { [$(concat!("https://www.googleapis.com/auth/", $name)),*] };
}

/// Scopes that allow to read events.
pub(super) const EVENT_SCOPES: [&str; 4] = scopes![
    "calendar.events.readonly",
    "calendar.events",
    "calendar.readonly",
    "calendar"
];

/// Scopes that allow to read the list of calendars.
const LIST_SCOPES: [&str; 4] = scopes![
    "calendar.calendarlist.readonly",
    "calendar.calendarlist",
    "calendar.readonly",
    "calendar"
];

/// Scopes that allow to end a channel.
const STOP_SCOPES: [&str; 6] = scopes![
    "calendar.events.readonly",
    "calendar.events",
    "calendar.calendarlist.readonly",
    "calendar.calendarlist",
    "calendar.readonly",
    "calendar"
];

const EVENTS_LIST: &str = "calendar.events.list";
const EVENTS_GET: &str = "calendar.events.get";
const EVENTS_WATCH: &str = "calendar.events.watch";
const CALENDARS_LIST: &str = "calendar.calendarList.list";
const CALENDARS_GET: &str = "calendar.calendarList.get";
const CALENDARS_WATCH: &str = "calendar.calendarList.watch";
const STOP: &str = "calendar.channels.stop";

const fn channel_kind(name: &'static str) -> ChannelKind {
    ChannelKind {
        name,
        state: "exists",
        default_seconds: 7 * 24 * 3_600,
        max_seconds: 30 * 24 * 3_600,
    }
}

const fn endpoint(id: &'static str, scopes: &'static [&'static str]) -> Endpoint {
    Endpoint {
        id,
        units: 1,
        scopes,
        default_fields: None,
        requires_fields: false,
    }
}

impl Product for GoogleCalendar {
    const SERVICE: &'static str = "calendar-json.googleapis.com";
    const ROOT: &'static str = "/calendar/v3";
    const BATCH: &'static [&'static str] = &["/batch/calendar/v3"];

    fn google(&self) -> &Arc<Google> {
        &self.google
    }

    fn endpoint(&self, method: &Method, parts: &[&str]) -> Option<Endpoint> {
        Some(match (method.as_str(), parts) {
            ("GET", ["calendars", _, "events"]) => endpoint(EVENTS_LIST, &EVENT_SCOPES),
            ("POST", ["calendars", _, "events", "watch"]) => endpoint(EVENTS_WATCH, &EVENT_SCOPES),
            ("GET", ["calendars", _, "events", _]) => endpoint(EVENTS_GET, &EVENT_SCOPES),
            ("GET", ["users", "me", "calendarList"]) => endpoint(CALENDARS_LIST, &LIST_SCOPES),
            ("POST", ["users", "me", "calendarList", "watch"]) => {
                endpoint(CALENDARS_WATCH, &LIST_SCOPES)
            }
            ("GET", ["users", "me", "calendarList", _]) => endpoint(CALENDARS_GET, &LIST_SCOPES),
            ("POST", ["channels", "stop"]) => endpoint(STOP, &STOP_SCOPES),
            _ => return None,
        })
    }

    fn respond(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        if call.endpoint.id == STOP {
            self.channels.stop(&call.caller.sub, call.body)?;
            return Ok(Reply::empty());
        }
        let now = self.google.core.clock.seconds();
        let mut world = self.world();
        self.remove_tombstones(&mut world);
        let settings = self.settings();
        let body = match (call.endpoint.id, call.parts) {
            (EVENTS_WATCH, [_, calendar, ..]) => return self.watch_events(&world, call, calendar),
            (CALENDARS_WATCH, _) => return self.watch_calendars(&world, call),
            (CALENDARS_LIST, _) => list::calendars(&mut world, &settings, call)?,
            (CALENDARS_GET, [.., calendar]) => list::calendar(&world, call, calendar)?,
            (EVENTS_LIST, [_, calendar, ..]) => {
                list::events(&mut world, &settings, call, calendar, now)?
            }
            (_, [_, calendar, _, event]) => list::event(&world, call, calendar, event)?,
            _ => return Err(errors::not_found()),
        };
        Ok(Reply::json(body))
    }

    /// Marks the facts of the received rows as polled.
    fn received(&self, call: &Call<'_>, body: &Value) {
        let rows = match (call.endpoint.id, &body["items"]) {
            (EVENTS_LIST, Value::Array(rows)) => rows.as_slice(),
            (EVENTS_GET, _) => std::slice::from_ref(body),
            _ => return,
        };
        let login = &call.caller.sub;
        let world = self.world();
        let Some((calendar, _)) = call.parts.get(1).and_then(|id| world.open(login, id)) else {
            return;
        };
        let rows = rows.iter();
        let facts: Vec<u64> = rows
            .flat_map(|row| calendar.facts.of_row(row, login))
            .collect();
        self.google.core.ledger.mark_polled(facts);
    }
}

impl GoogleCalendar {
    fn watch_events(
        &self,
        world: &World,
        call: &Call<'_>,
        calendar: &str,
    ) -> Result<Reply, ApiError> {
        let login = &call.caller.sub;
        let (calendar, _) = world.open(login, calendar).ok_or_else(errors::not_found)?;
        if calendar.origin == Origin::Published {
            return Err(errors::push_not_supported());
        }
        list::check_watch(world, &self.settings(), call, &calendar.id)?;
        let id: String = byte_serialize(calendar.id.as_bytes()).collect();
        self.watch(
            call,
            "events",
            calendar.id.clone(),
            &format!("calendars/{id}/events"),
        )
    }

    fn watch_calendars(&self, world: &World, call: &Call<'_>) -> Result<Reply, ApiError> {
        let list = list::calendar_list_name(&call.caller.sub);
        list::check_watch(world, &self.settings(), call, &list)?;
        self.watch(call, "calendarList", list, "users/me/calendarList")
    }

    fn watch(
        &self,
        call: &Call<'_>,
        kind: &'static str,
        resource: String,
        path: &str,
    ) -> Result<Reply, ApiError> {
        let watched = Watched {
            kind: channel_kind(kind),
            resource,
            uri: format!("{}/calendar/v3/{path}?alt=json", self.google.base),
            sub: call.caller.sub.clone(),
        };
        let (body, sync) = self.channels.watch(watched, call.body)?;
        Ok(Reply::channel(body, sync))
    }
}
