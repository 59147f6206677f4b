//! Creation, changes and cancellation of events by their organizers.

use rand::RngExt;

use super::super::event::{Attendee, Cancellation, Event, EventType};
use super::super::recurrence::Recurrence;
use super::super::series::{Occurrence, Series};
use super::super::time::When;
use super::{ActionParams, Refusal, Transaction, outcome};
use crate::action::ActionOutcome;

const HOUR: i64 = 3_600;

impl Transaction<'_> {
    pub(super) fn create_event(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<ActionOutcome, Refusal> {
        let address = self.address(login);
        let calendar = match params.calendar.as_deref() {
            None | Some("primary") => address.clone(),
            Some(id) => id.to_owned(),
        };
        if !self.world.writable(login).contains(&calendar) {
            return Err("the account cannot write to the calendar");
        }
        let name = params.event_type.as_deref().unwrap_or("default");
        let event_type = EventType::find(name).ok_or("unknown event type")?;
        if event_type != EventType::Default && calendar != address {
            return Err("the event type needs a primary calendar");
        }
        let recurrence = match params.rule.as_deref() {
            Some(rule) => Some(Recurrence::parse(rule).ok_or("unknown rule")?),
            None if event_type == EventType::Birthday => Recurrence::parse("yearly"),
            None => None,
        };
        let event = self.new_event(address, &calendar, (event_type, recurrence), params);
        let micros = self.world.micros(self.at);
        let facts = self.store_with_copies(&calendar, vec![event.clone()], micros);
        let stored = &self.world.calendars[&calendar].events[&event.id];
        Ok(outcome(&calendar, stored, facts))
    }

    fn new_event(
        &mut self,
        creator: String,
        calendar: &str,
        (event_type, recurrence): (EventType, Option<Recurrence>),
        params: &ActionParams,
    ) -> Event {
        let is_all_day = params.all_day
            || matches!(event_type, EventType::Birthday | EventType::WorkingLocation);
        let (start, end) = self.time_of_new_event(calendar, is_all_day);
        let number = self.world.rng.random_range(1..10_000);
        let has_text = [(); 2].map(|()| self.world.rng.random_bool(0.15));
        let (id, ical_uid) = self.new_ids(params.imported);
        let title = params.text.clone();
        Event {
            id,
            ical_uid,
            kind: event_type,
            cancelled: None,
            created: self.at,
            updated: 0,
            summary: title.unwrap_or_else(|| default_title(event_type, number)),
            description: has_text[0].then(|| format!("Agenda {number}")),
            location: has_text[1].then(|| format!("Room {number}")),
            visibility: match event_type {
                EventType::WorkingLocation => Some("public"),
                EventType::Birthday => Some("private"),
                _ => params.private.then_some("private"),
            },
            creator,
            home: calendar.to_owned(),
            start,
            end,
            recurrence,
            instance: None,
            attendees: guest_list(calendar, params.guests.as_deref().unwrap_or_default()),
            reminder: None,
            sequence: 0,
        }
    }

    /// Id of a new event, and its id for other calendar programs.
    fn new_ids(&mut self, is_imported: bool) -> (String, String) {
        if is_imported {
            let ical_uid = format!("{}@calendar.example", self.world.id(20));
            return (format!("_{}", self.world.id(36)), ical_uid);
        }
        let id = self.world.id(26);
        let ical_uid = format!("{id}@google.com");
        (id, ical_uid)
    }

    /// Start and end of a new event, within the next two weeks.
    fn time_of_new_event(&mut self, calendar: &str, is_all_day: bool) -> (When, When) {
        let zone = self.world.calendars[calendar].zone;
        let hours = self.world.rng.random_range(12..14 * 24_i64);
        let seconds = self.at.div_euclid(HOUR) * HOUR + hours * HOUR;
        if is_all_day {
            let day = When::day(seconds, zone);
            return (day, day.plus_days(1));
        }
        let start = When::At { seconds, zone };
        (start, start.plus_seconds(HOUR))
    }

    pub(super) fn edit_event(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<ActionOutcome, Refusal> {
        let (calendar, mut series) = self.select_organized(login, params)?;
        let number = self.world.rng.random_range(1..10_000);
        let title = params
            .text
            .clone()
            .unwrap_or_else(|| format!("Changed {number}"));
        let guests = params
            .guests
            .as_ref()
            .map(|guests| guest_list(&calendar, guests));
        let edit = |event: &mut Event| {
            event.summary.clone_from(&title);
            if let Some(guests) = &guests {
                keep_responses(event, guests.clone());
            }
            if params.private {
                event.visibility = Some("private");
            }
        };
        let mut separate = None;
        match scope(&series, params)? {
            Scope::All => series.edit_all(&edit),
            Scope::This(one) => {
                let instance = series.instance(&one).ok_or("unknown instance")?;
                if !instance.is_live() {
                    return Err("the instance is cancelled");
                }
                edit(instance);
            }
            Scope::Following(one) => {
                let rule = match params.rule.as_deref() {
                    Some(rule) => Some(Recurrence::parse(rule).ok_or("unknown rule")?),
                    None => None,
                };
                let new_id = self.world.id(26);
                separate = series.edit_following(&one, rule, &new_id, &edit);
            }
        }
        let micros = self.world.micros(self.at);
        let mut result = self.store_series(&calendar, series, micros);
        if let Some(event) = separate {
            let new = self.store_with_copies(&calendar, vec![event], micros);
            result.facts.extend(new);
        }
        Ok(result)
    }

    pub(super) fn cancel_event(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<ActionOutcome, Refusal> {
        let (calendar, mut series) = self.select(login, params)?;
        if !series.is_live() {
            return Err("the event is cancelled");
        }
        if series.rows.iter().all(|row| row.home != calendar) {
            return self.remove_copy(login, &calendar, series);
        }
        match scope(&series, params)? {
            Scope::All => series.cancel_all(),
            Scope::This(one) => series.cancel_instance(&one),
            Scope::Following(one) => series.cancel_following(&one),
        }
        let micros = self.world.micros(self.at);
        Ok(self.store_series(&calendar, series, micros))
    }

    pub(super) fn restore_event(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<ActionOutcome, Refusal> {
        if params.event.is_none() {
            return Err("an event is required");
        }
        let (calendar, mut series) = self.select(login, params)?;
        if series.is_live() {
            return Err("the event is not cancelled");
        }
        series.restore();
        if !series.is_live() {
            return Err("the event cannot be restored");
        }
        let micros = self.world.micros(self.at);
        Ok(self.store_series(&calendar, series, micros))
    }

    pub(super) fn move_event(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<ActionOutcome, Refusal> {
        let (calendar, series) = self.select_organized(login, params)?;
        let mut writable = self.world.writable(login).into_iter();
        let to = match &params.to {
            Some(to) => writable.find(|id| id == to).ok_or("unknown calendar")?,
            None => writable
                .find(|id| *id != calendar)
                .ok_or("the account has no other calendar")?,
        };
        let first = series.rows.first().ok_or("unknown event")?.id.clone();
        if self.world.calendars[&to].events.contains_key(&first) {
            return Err("the calendar has the event");
        }
        let (mut left, mut arrived) = (Vec::new(), Vec::new());
        for row in series.into_rows() {
            if row.is_tombstone() {
                continue;
            }
            arrived.push(Event {
                home: to.clone(),
                ..row.clone()
            });
            left.push(Event {
                cancelled: Some(Cancellation::Moved),
                ..row
            });
        }
        let micros = self.world.micros(self.at);
        let mut facts = self.store(&calendar, left, micros);
        facts.extend(self.store_with_copies(&to, arrived, micros));
        let stored = &self.world.calendars[&to].events[&first];
        Ok(outcome(&to, stored, facts))
    }

    /// The selected event in the calendar of its organizer.
    fn select_organized(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<(String, Series), Refusal> {
        let (calendar, series) = self.select(login, params)?;
        if series.rows.iter().all(|row| row.home != calendar) {
            return Err("only the organizer changes an event");
        }
        if !series.is_live() {
            return Err("the event is cancelled");
        }
        Ok((calendar, series))
    }

    /// Stores all rows of a series after a change of one of them.
    fn store_series(&mut self, calendar: &str, series: Series, micros: i64) -> ActionOutcome {
        let rows = series.into_rows();
        let first = rows.first().map(|row| row.id.clone()).unwrap_or_default();
        let facts = self.store_with_copies(calendar, rows, micros);
        let stored = &self.world.calendars[calendar].events[&first];
        outcome(calendar, stored, facts)
    }
}

/// Part of a series that an action affects.
enum Scope {
    This(Occurrence),
    Following(Occurrence),
    All,
}

/// The selected part of a series; an event that does not repeat is selected as a whole.
fn scope(series: &Series, params: &ActionParams) -> Result<Scope, Refusal> {
    let scope = params.scope.as_deref().unwrap_or("all");
    if scope == "all" {
        return Ok(Scope::All);
    }
    if !series.is_recurring() {
        return Ok(Scope::All);
    }
    let id = params.event.as_deref().unwrap_or_default();
    let one = series
        .find(id)
        .or_else(|| series.occurrence(params.occurrence.unwrap_or(1)))
        .ok_or("unknown instance")?;
    match scope {
        "this" => Ok(Scope::This(one)),
        "following" => Ok(Scope::Following(one)),
        _ => Err("unknown scope"),
    }
}

/// Guests with the organizer among them, as Calendar lists them; empty without guests.
fn guest_list(organizer: &str, guests: &[String]) -> Vec<Attendee> {
    if guests.is_empty() {
        return Vec::new();
    }
    let attendee = |address: &str, response| Attendee {
        address: address.to_owned(),
        response,
    };
    let others = guests.iter().filter(|guest| *guest != organizer);
    others
        .map(|guest| attendee(guest, "needsAction"))
        .chain([attendee(organizer, "accepted")])
        .collect()
}

/// Replaces the guests, of whom the former ones keep their responses.
fn keep_responses(event: &mut Event, mut guests: Vec<Attendee>) {
    for guest in &mut guests {
        let mut former = event.attendees.iter();
        if let Some(former) = former.find(|former| former.address == guest.address) {
            guest.response = former.response;
        }
    }
    event.attendees = guests;
}

fn default_title(event_type: EventType, number: u32) -> String {
    match event_type {
        EventType::Default => format!("Meeting {number}"),
        EventType::OutOfOffice => "Out of office".to_owned(),
        EventType::WorkingLocation => "Home".to_owned(),
        EventType::FocusTime => "Focus time".to_owned(),
        EventType::Birthday => "Happy birthday!".to_owned(),
    }
}
