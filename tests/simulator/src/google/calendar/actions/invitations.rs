//! Responses of guests, and what people change in their own copies.

use rand::seq::IteratorRandom;

use super::super::event::Event;
use super::super::recurrence;
use super::super::series::Series;
use super::{ActionParams, Refusal, Transaction, outcome};
use crate::action::ActionOutcome;

/// Responses of guests.
const RESPONSES: [&str; 4] = ["accepted", "declined", "tentative", "needsAction"];

impl Transaction<'_> {
    /// A guest responds to an invitation, which changes the guest's copy and the organizer's.
    pub(super) fn respond(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<ActionOutcome, Refusal> {
        let address = self.address(login);
        let id = match &params.event {
            Some(id) => recurrence::base(id).to_owned(),
            None => self.random_invitation(&address)?,
        };
        let wanted = params.response.as_deref().unwrap_or("accepted");
        let response = RESPONSES
            .into_iter()
            .find(|response| *response == wanted)
            .ok_or("unknown response")?;
        let series = self.series(&address, &id);
        let first = series.rows.first().ok_or("unknown event")?.clone();
        if !series.is_live() || !first.invites(&address) {
            return Err("the account is not invited");
        }
        let micros = self.world.micros(self.at);
        let mut facts = Vec::new();
        for calendar in [&first.home, &address] {
            if self.world.calendars.contains_key(calendar) {
                let mut series = self.series(calendar, &id);
                set_response(&mut series, &address, response);
                facts.extend(self.store(calendar, series.into_rows(), micros));
            }
        }
        let stored = &self.world.calendars[&address].events[&first.id];
        Ok(outcome(&address, stored, facts))
    }

    fn random_invitation(&mut self, address: &str) -> Result<String, Refusal> {
        let calendar = self.world.calendars.get(address).ok_or("unknown account")?;
        let events = calendar.events.values();
        events
            .filter(|event| event.is_live() && event.is_original() && event.home != address)
            .map(|event| event.id.clone())
            .choose(&mut self.world.rng)
            .ok_or("the account has no invitation")
    }

    /// A guest removes an event from the own calendar, which declines the invitation.
    pub(super) fn remove_copy(
        &mut self,
        login: &str,
        calendar: &str,
        mut series: Series,
    ) -> Result<ActionOutcome, Refusal> {
        let address = self.address(login);
        let first = series.rows.first().ok_or("unknown event")?.clone();
        let micros = self.world.micros(self.at);
        series.cancel_all();
        let mut facts = self.store(calendar, series.into_rows(), micros);
        if self.world.calendars.contains_key(&first.home) {
            let mut organized = self.series(&first.home, recurrence::base(&first.id));
            set_response(&mut organized, &address, "declined");
            facts.extend(self.store(&first.home, organized.into_rows(), micros));
        }
        let stored = &self.world.calendars[calendar].events[&first.id];
        Ok(outcome(calendar, stored, facts))
    }

    /// A person changes the own reminder, which is no change of the event.
    ///
    /// The rows come again in the list of changes, with the former `updated` and `etag`.
    pub(super) fn change_reminder(
        &mut self,
        login: &str,
        params: &ActionParams,
    ) -> Result<ActionOutcome, Refusal> {
        let (calendar, series) = self.select(login, params)?;
        if !series.is_live() {
            return Err("the event is cancelled");
        }
        let minutes = params.minutes.unwrap_or(10);
        let rows = series.into_rows();
        let first = rows.first().ok_or("unknown event")?.clone();
        let stored = self
            .world
            .calendars
            .get_mut(&calendar)
            .ok_or("unknown calendar")?;
        for row in rows.into_iter().filter(|row| !row.is_tombstone()) {
            stored.put(Event {
                reminder: Some(minutes),
                ..row
            });
        }
        let event = outcome(&calendar, &first, Vec::new());
        self.changed.insert(super::Changed::Events(calendar));
        Ok(event)
    }
}

fn set_response(series: &mut Series, address: &str, response: &'static str) {
    let guests = series.rows.iter_mut().flat_map(|row| &mut row.attendees);
    for guest in guests.filter(|guest| guest.address == address) {
        guest.response = response;
    }
}
