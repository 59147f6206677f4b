//! Changes of a series: its instances, its parts, and all of it.
//!
//! The functions change the rows of one series, and leave times of change and copies to the
//! caller.

use super::event::{Cancellation, Event, Instance};
use super::recurrence::{self, Recurrence};
use super::time::When;

/// Instances that are counted to find one by its number.
const MAX_INSTANCES: u32 = 4_000;

/// An instance of a series: the row of its part, and its start by the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Occurrence {
    pub(crate) part: String,
    pub(crate) original: When,
}

/// Rows of a series or of a single event.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) rows: Vec<Event>,
}

impl Series {
    /// Whether the event repeats.
    pub(crate) fn is_recurring(&self) -> bool {
        self.rows.iter().any(|row| row.recurrence.is_some())
    }

    /// Whether people still see the event or a part of it.
    pub(crate) fn is_live(&self) -> bool {
        self.rows.iter().any(Event::is_live)
    }

    /// The rows in the order of their change: the event, its parts, their instances.
    pub(crate) fn into_rows(mut self) -> Vec<Event> {
        self.rows.sort_by_key(|row| row.instance.is_some());
        self.rows
    }

    /// Live parts in the order of their starts.
    fn parts(&self) -> Vec<&Event> {
        let mut parts: Vec<&Event> = self
            .rows
            .iter()
            .filter(|row| row.recurrence.is_some() && row.is_live())
            .collect();
        parts.sort_by_key(|row| row.start.seconds());
        parts
    }

    /// The instance with this number from zero.
    pub(crate) fn occurrence(&self, number: u32) -> Option<Occurrence> {
        let all = self.parts().into_iter().flat_map(occurrences);
        all.into_iter().nth(usize::try_from(number).ok()?)
    }

    /// The instance with this id.
    pub(crate) fn find(&self, id: &str) -> Option<Occurrence> {
        let mut all = self.parts().into_iter().flat_map(occurrences);
        all.find(|one| recurrence::instance_id(&one.part, one.original) == id)
    }

    fn row(&mut self, id: &str) -> Option<&mut Event> {
        self.rows.iter_mut().find(|row| row.id == id)
    }

    /// The row of an instance, made from its part if there is none.
    pub(crate) fn instance(&mut self, one: &Occurrence) -> Option<&mut Event> {
        let id = recurrence::instance_id(&one.part, one.original);
        if !self.rows.iter().any(|row| row.id == id) {
            let mut row = self.row(&one.part)?.clone();
            row.id.clone_from(&id);
            row.recurrence = None;
            row.place_at(one.original);
            row.instance = Some(Instance {
                series: one.part.clone(),
                original: one.original,
            });
            self.rows.push(row);
        }
        self.row(&id)
    }

    /// Changes an instance and all later ones.
    ///
    /// They become a part of the series. With another rule they become an event of its own with
    /// the id `new_id`, which is returned.
    pub(crate) fn edit_following(
        &mut self,
        one: &Occurrence,
        rule: Option<Recurrence>,
        new_id: &str,
        edit: &dyn Fn(&mut Event),
    ) -> Option<Event> {
        let cut = one.original.seconds();
        for row in &mut self.rows {
            if row.recurrence.is_some() && row.is_live() && row.start.seconds() >= cut {
                match rule {
                    Some(_) if row.id != one.part => {
                        row.cancelled = Some(Cancellation::EndOfSeries);
                    }
                    _ => edit(row),
                }
            }
        }
        let part = self.row(&one.part)?;
        if part.start == one.original && rule.is_none() {
            return None;
        }
        let mut new = part.clone();
        if part.start == one.original {
            part.cancelled = Some(Cancellation::EndOfSeries);
        } else {
            end_before(part, one.original);
        }
        new.place_at(one.original);
        edit(&mut new);
        let Some(rule) = rule else {
            new.id = recurrence::part_id(&one.part, one.original);
            new.ical_uid = format!("{}@google.com", new.id);
            for row in &mut self.rows {
                if let Some(instance) = &mut row.instance
                    && instance.series == one.part
                    && instance.original.seconds() >= cut
                {
                    instance.series.clone_from(&new.id);
                    row.ical_uid.clone_from(&new.ical_uid);
                }
            }
            self.rows.push(new);
            return None;
        };
        new_id.clone_into(&mut new.id);
        new.ical_uid = format!("{new_id}@google.com");
        new.recurrence = Some(rule);
        self.cancel_instances_from(cut);
        Some(new)
    }

    /// Changes the event in all its parts; instances keep what was changed in them.
    pub(crate) fn edit_all(&mut self, edit: &dyn Fn(&mut Event)) {
        let is_alone = !self.is_recurring();
        for row in &mut self.rows {
            if row.is_live() && (is_alone || row.recurrence.is_some()) {
                edit(row);
            }
        }
    }

    /// Cancels one instance.
    pub(crate) fn cancel_instance(&mut self, one: &Occurrence) {
        if let Some(row) = self.instance(one) {
            row.cancelled = Some(Cancellation::Instance);
        }
    }

    /// Cancels an instance and all later ones.
    pub(crate) fn cancel_following(&mut self, one: &Occurrence) {
        let cut = one.original.seconds();
        if self
            .parts()
            .first()
            .is_some_and(|first| first.start.seconds() >= cut)
        {
            self.cancel_all();
            return;
        }
        if let Some(part) = self.row(&one.part) {
            end_before(part, one.original);
        }
        for row in &mut self.rows {
            if row.recurrence.is_some() && row.is_live() && row.start.seconds() >= cut {
                row.cancelled = Some(Cancellation::EndOfSeries);
            }
        }
        self.cancel_instances_from(cut);
    }

    fn cancel_instances_from(&mut self, cut: i64) {
        for row in &mut self.rows {
            let original = row.instance.as_ref().map(|instance| instance.original);
            if original.is_some_and(|original| original.seconds() >= cut) {
                row.cancelled = Some(Cancellation::EndOfSeries);
            }
        }
    }

    /// Cancels the event with all parts and instances.
    pub(crate) fn cancel_all(&mut self) {
        for row in &mut self.rows {
            row.cancelled = match row.cancelled {
                None => Some(Cancellation::Whole),
                Some(Cancellation::Instance) => Some(Cancellation::InstanceOfWhole),
                ended => ended,
            };
        }
    }

    /// Takes back the cancellation of the event as a whole.
    pub(crate) fn restore(&mut self) {
        for row in &mut self.rows {
            row.cancelled = match row.cancelled {
                Some(Cancellation::Whole) => None,
                Some(Cancellation::InstanceOfWhole) => Some(Cancellation::Instance),
                other => other,
            };
        }
    }
}

/// Instances of a part, in order.
fn occurrences(part: &Event) -> Vec<Occurrence> {
    let rule = part.recurrence.into_iter();
    rule.flat_map(|rule| rule.occurrences(part.start, i64::MAX, MAX_INSTANCES))
        .map(|original| Occurrence {
            part: part.id.clone(),
            original,
        })
        .collect()
}

/// Ends a part on the day before one of its instances.
fn end_before(part: &mut Event, start: When) {
    if let Some(rule) = &mut part.recurrence {
        rule.until = Some(start.end_of_previous_day());
    }
}
