//! An event of a calendar: a single event, a series, an instance, or a copy of a guest.

use super::recurrence::{Recurrence, is_part};
use super::time::When;

/// Type of an event, which never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventType {
    Default,
    OutOfOffice,
    WorkingLocation,
    FocusTime,
    Birthday,
}

impl EventType {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::OutOfOffice => "outOfOffice",
            Self::WorkingLocation => "workingLocation",
            Self::FocusTime => "focusTime",
            Self::Birthday => "birthday",
        }
    }

    /// The type with this name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let all = [
            Self::Default,
            Self::OutOfOffice,
            Self::WorkingLocation,
            Self::FocusTime,
            Self::Birthday,
        ];
        all.into_iter().find(|one| one.name() == name)
    }
}

/// How an event was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancellation {
    /// One instance of a series that continues.
    Instance,
    /// The event, with its series if it belongs to one.
    Whole,
    /// An instance that was cancelled before its series was.
    InstanceOfWhole,
    /// The series ends before this instance or part.
    EndOfSeries,
    /// The event was moved to another calendar.
    Moved,
}

/// A guest, or the organizer among the guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attendee {
    pub(crate) address: String,
    pub(crate) response: &'static str,
}

/// The instance of a series that a row replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Id of the series, or of its part.
    pub(crate) series: String,
    /// Start by the rule of the series.
    pub(crate) original: When,
}

/// A row of a calendar.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) ical_uid: String,
    pub(crate) kind: EventType,
    pub(crate) cancelled: Option<Cancellation>,
    /// Seconds since the epoch.
    pub(crate) created: i64,
    /// Microseconds since the epoch.
    pub(crate) updated: i64,
    pub(crate) summary: String,
    pub(crate) description: Option<String>,
    pub(crate) location: Option<String>,
    /// `private` or `public`; absent for the default of the calendar.
    pub(crate) visibility: Option<&'static str>,
    /// Address of the creator.
    pub(crate) creator: String,
    /// Id of the organizer's calendar; all other copies belong to guests.
    pub(crate) home: String,
    pub(crate) start: When,
    pub(crate) end: When,
    pub(crate) recurrence: Option<Recurrence>,
    pub(crate) instance: Option<Instance>,
    pub(crate) attendees: Vec<Attendee>,
    /// Minutes before the start of the viewer's reminder; `None` for the calendar's default.
    pub(crate) reminder: Option<u32>,
    pub(crate) sequence: u32,
}

impl Event {
    /// Whether people still see the event.
    pub(crate) const fn is_live(&self) -> bool {
        self.cancelled.is_none()
    }

    /// Whether it is no instance and no later part of a split series.
    pub(crate) fn is_original(&self) -> bool {
        self.instance.is_none() && !is_part(&self.id)
    }

    /// Whether it is a cancelled row that the provider keeps only for a time.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.cancelled
            .is_some_and(|cancelled| cancelled != Cancellation::Instance)
    }

    pub(crate) fn invites(&self, address: &str) -> bool {
        self.attendees.iter().any(|guest| guest.address == address)
    }

    /// Moves start and end of an instance to its place in the series.
    pub(crate) fn place_at(&mut self, start: When) {
        let length = self.end.seconds() - self.start.seconds();
        self.start = start;
        self.end = match start {
            When::Day(_) => start.plus_days(u64::try_from(length / 86_400).unwrap_or(1)),
            When::At { .. } => start.plus_seconds(length),
        };
    }
}
