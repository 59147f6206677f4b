//! Copies of events in the calendars of guests.

use std::collections::{BTreeMap, BTreeSet};

use super::super::event::{Cancellation, Event};
use super::Transaction;

impl Transaction<'_> {
    /// Stores rows of an event in the organizer's calendar, and their copies at the guests.
    pub(super) fn store_with_copies(
        &mut self,
        calendar: &str,
        rows: Vec<Event>,
        micros: i64,
    ) -> Vec<u64> {
        let copies = self.copies(calendar, &rows);
        let mut facts = self.store(calendar, rows, micros);
        for (guest, copies) in copies {
            facts.extend(self.store(&guest, copies, micros));
        }
        facts
    }

    /// New copies of rows by the guests' calendars.
    fn copies(&self, calendar: &str, rows: &[Event]) -> BTreeMap<String, Vec<Event>> {
        let mut copies: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for row in rows {
            let former = self.world.calendars[calendar].events.get(&row.id);
            let invited = row.attendees.iter();
            let guests: BTreeSet<&String> = former
                .iter()
                .flat_map(|former| &former.attendees)
                .chain(invited)
                .map(|guest| &guest.address)
                .filter(|address| *address != calendar)
                .collect();
            for guest in guests {
                if let Some(copy) = self.copy(guest, row, former) {
                    copies.entry(guest.clone()).or_default().push(copy);
                }
            }
        }
        copies
    }

    /// New copy of a row for a guest; `None` if the guest has no calendar here or removed it.
    fn copy(&self, guest: &str, row: &Event, former: Option<&Event>) -> Option<Event> {
        self.world.login(guest)?;
        let own = self.world.calendars.get(guest)?.events.get(&row.id);
        if let Some(own) = own
            && !own.is_live()
            && former.is_some_and(Event::is_live)
        {
            return None;
        }
        if own.is_none() && row.is_tombstone() {
            return None;
        }
        let mut copy = row.clone();
        copy.reminder = own.and_then(|own| own.reminder);
        if !row.invites(guest) {
            let is_present = own.is_some_and(Event::is_live);
            if !is_present {
                return None;
            }
            copy.cancelled = Some(Cancellation::Whole);
        }
        Some(copy)
    }
}
