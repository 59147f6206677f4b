//! Actions of people: changes of calendars, and their facts.

mod calendars;
mod events;
mod guests;
mod invitations;

use std::collections::BTreeSet;

use rand::RngExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::event::Event;
use super::facts;
use super::recurrence;
use super::series::Series;
use super::world::World;
use crate::action::ActionOutcome;
use crate::ledger::Ledger;

pub(super) use calendars::NewUser;

/// Reason why an action is impossible.
pub(super) type Refusal = &'static str;

/// Action and parameters of a control request.
///
/// Only `account` and `action` are required.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionParams {
    /// Login or address of the person who acts.
    pub(crate) account: String,
    pub(crate) action: String,
    /// Id of the calendar.
    pub(crate) calendar: Option<String>,
    /// Id of the event or instance.
    pub(crate) event: Option<String>,
    /// `this`, `following` or `all` of a series.
    pub(crate) scope: Option<String>,
    /// Number of an instance of the series, from zero.
    pub(crate) occurrence: Option<u32>,
    /// Title of an event or calendar.
    pub(crate) text: Option<String>,
    /// Addresses of guests.
    pub(crate) guests: Option<Vec<String>>,
    /// `daily`, `weekly` or `yearly`.
    pub(crate) rule: Option<String>,
    pub(crate) event_type: Option<String>,
    #[serde(default)]
    pub(crate) all_day: bool,
    #[serde(default)]
    pub(crate) private: bool,
    /// The id of the event begins with an underscore.
    #[serde(default)]
    pub(crate) imported: bool,
    /// Response of a guest.
    pub(crate) response: Option<String>,
    /// Minutes of a reminder.
    pub(crate) minutes: Option<u32>,
    /// Id of the calendar that an event moves to.
    pub(crate) to: Option<String>,
    /// Access to an added calendar.
    pub(crate) role: Option<String>,
}

/// A list that an action changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Changed {
    /// Events of a calendar.
    Events(String),
    /// Calendar list of a person, by login.
    CalendarList(String),
}

/// Access to the world while an action changes it.
pub(crate) struct Transaction<'a> {
    pub(crate) world: &'a mut World,
    pub(super) ledger: &'a Ledger,
    /// Seconds since the epoch.
    pub(super) at: i64,
    pub(crate) changed: BTreeSet<Changed>,
}

impl<'a> Transaction<'a> {
    pub(crate) const fn new(world: &'a mut World, ledger: &'a Ledger, at: i64) -> Self {
        Self {
            world,
            ledger,
            at,
            changed: BTreeSet::new(),
        }
    }

    /// Performs an action of the person with this login.
    pub(crate) fn perform(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<ActionOutcome, Refusal> {
        if !self.world.users.contains_key(login) {
            return Err("unknown account");
        }
        match params.action.as_str() {
            "event.created" => self.create_event(login, params),
            "event.edited" => self.edit_event(login, params),
            "event.cancelled" => self.cancel_event(login, params),
            "event.restored" => self.restore_event(login, params),
            "event.moved" => self.move_event(login, params),
            "event.responded" => self.respond(login, params),
            "event.reminder" => self.change_reminder(login, params),
            "calendar.added" => self.add_calendar(login, params),
            "calendar.removed" => self.change_entry(login, params, |entry| entry.is_deleted = true),
            "calendar.hidden" => self.change_entry(login, params, |entry| entry.is_hidden = true),
            "calendar.shown" => self.change_entry(login, params, |entry| entry.is_hidden = false),
            _ => Err("unknown action"),
        }
    }

    /// Calendar and rows of the selected event, or of a random one.
    ///
    /// The copy of the organizer comes first. An account without events gets one.
    fn select(&mut self, login: &str, params: &ActionParams) -> Result<(String, Series), Refusal> {
        let writable = self.world.writable(login);
        let calendars = match &params.calendar {
            Some(id) if id == "primary" => vec![self.address(login)],
            Some(id) => vec![id.clone()],
            None => writable.clone(),
        };
        if !calendars.iter().all(|id| writable.contains(id)) {
            return Err("the account cannot write to the calendar");
        }
        let id = match &params.event {
            Some(id) => recurrence::base(id).to_owned(),
            None => self.random_event(login, &calendars)?,
        };
        let has_event = |calendar: &&String| {
            let calendar = self.world.calendars.get(*calendar);
            calendar.is_some_and(|calendar| !calendar.family(&id).is_empty())
        };
        let is_home = |calendar: &&String| {
            let calendar = &self.world.calendars[*calendar];
            let mut family = calendar.family(&id).into_iter();
            family.any(|row| calendar.events[&row].home == calendar.id)
        };
        let holders: Vec<&String> = calendars.iter().filter(has_event).collect();
        let home = holders.iter().copied().find(is_home);
        let calendar = home
            .or(holders.first().copied())
            .ok_or("unknown event")?
            .clone();
        let series = self.series(&calendar, &id);
        Ok((calendar, series))
    }

    fn random_event(&mut self, login: &str, calendars: &[String]) -> Result<String, Refusal> {
        let start = self.world.rng.random_range(0..calendars.len().max(1));
        let (before, after) = calendars.split_at(start.min(calendars.len()));
        for calendar in after.iter().chain(before) {
            if let Some(event) = self.world.random_event(calendar) {
                return Ok(event);
            }
        }
        let params = ActionParams {
            calendar: calendars.first().cloned(),
            ..ActionParams::default()
        };
        let outcome = self.create_event(login, &params)?;
        let id = outcome.object["id"].as_str().unwrap_or_default();
        Ok(id.to_owned())
    }

    /// Rows of an event in a calendar.
    fn series(&self, calendar: &str, base: &str) -> Series {
        let calendar = &self.world.calendars[calendar];
        let rows = calendar.family(base).into_iter();
        Series {
            rows: rows.map(|id| calendar.events[&id].clone()).collect(),
        }
    }

    fn address(&self, login: &str) -> String {
        self.world.users[login].address.clone()
    }

    /// Stores rows of an event, which changed at this time, and records their facts.
    ///
    /// Rows that were deleted before are not changed.
    fn store(&mut self, calendar: &str, mut rows: Vec<Event>, micros: i64) -> Vec<u64> {
        let Some(first) = rows.first() else {
            return Vec::new();
        };
        let base = recurrence::base(&first.id).to_owned();
        for row in &mut rows {
            row.updated = micros;
        }
        let stored = self
            .world
            .calendars
            .get_mut(calendar)
            .expect("the calendar exists");
        for row in rows {
            let former = stored.events.get(&row.id);
            if !(row.is_tombstone() && former.is_some_and(Event::is_tombstone)) {
                stored.put(row);
            }
        }
        self.changed.insert(Changed::Events(calendar.to_owned()));
        facts::settle(self.world, self.ledger, calendar, &base)
    }
}

/// Result of an action on an event.
fn outcome(calendar: &str, event: &Event, facts: Vec<u64>) -> ActionOutcome {
    ActionOutcome {
        object: describe(calendar, event),
        facts,
    }
}

fn describe(calendar: &str, event: &Event) -> Value {
    json!({
        "calendar": calendar, "id": event.id, "ical_uid": event.ical_uid,
        "created": crate::clock::iso(event.created),
        "updated": super::time::millis_text(event.updated),
        "cancelled": !event.is_live(),
    })
}
