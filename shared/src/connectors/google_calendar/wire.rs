//! Types of the Calendar API's JSON (version 3): events and the list of calendars.
//!
//! Deserialization is lenient: a field that is not of the documented form counts as missing.
//! `normalize` checks the fields that a Signal requires. Source: the API's discovery document.

use chrono::{DateTime, NaiveDate};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::connectors::google::Timestamp;
pub(super) use crate::connectors::wire::{WireError, read};
use crate::connectors::wire::{lenient, link, list, or_default, text};

/// Members of a private event that `payload.raw` keeps: no texts and no guests.
const PUBLIC_MEMBERS: &[&str] = &[
    "kind",
    "etag",
    "id",
    "status",
    "htmlLink",
    "created",
    "updated",
    "creator",
    "organizer",
    "start",
    "end",
    "endTimeUnspecified",
    "recurrence",
    "recurringEventId",
    "originalStartTime",
    "transparency",
    "visibility",
    "iCalUID",
    "sequence",
    "eventType",
];

/// Page of a list of events or calendars.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    /// The rows; `None` if the response has no list, or was requested without one.
    #[serde(borrow, default)]
    pub(super) items: Option<Vec<&'a RawValue>>,
    #[serde(rename = "nextPageToken", default, deserialize_with = "text")]
    pub(super) next: Option<String>,
    /// Token of the changes after this list; the last page has it.
    #[serde(rename = "nextSyncToken", default, deserialize_with = "text")]
    pub(super) next_sync: Option<String>,
}

/// An event, an instance of a series, or what is left of a deleted one.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Event {
    #[serde(default, deserialize_with = "text")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) etag: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) status: Option<String>,
    #[serde(rename = "eventType", default, deserialize_with = "text")]
    pub(super) kind: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) updated: Option<Timestamp>,
    #[serde(default, deserialize_with = "text")]
    pub(super) summary: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    visibility: Option<Value>,
    #[serde(rename = "htmlLink", default, deserialize_with = "link")]
    pub(super) url: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) creator: Option<Person>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) organizer: Option<Person>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) start: EventTime,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) end: EventTime,
    /// Rules of a series; empty for other events and for instances.
    #[serde(default, deserialize_with = "list")]
    pub(super) recurrence: Vec<String>,
    /// Id of the series that this is an instance of.
    #[serde(rename = "recurringEventId", default, deserialize_with = "text")]
    pub(super) recurring_event_id: Option<String>,
    #[serde(rename = "originalStartTime", default, deserialize_with = "or_default")]
    pub(super) original_start: EventTime,
    #[serde(rename = "iCalUID", default, deserialize_with = "text")]
    pub(super) ical_uid: Option<String>,
    #[serde(default, deserialize_with = "list")]
    pub(super) attendees: Vec<Attendee>,
    /// Whether `attendees` lacks some, as in very large meetings.
    #[serde(rename = "attendeesOmitted", default, deserialize_with = "or_default")]
    pub(super) omits_attendees: bool,
}

impl Event {
    pub(super) fn is_cancelled(&self) -> bool {
        self.status.as_deref() == Some("cancelled")
    }

    /// Whether its content is for its participants only.
    ///
    /// An event of another visibility than the documented ones counts as private, also if it is
    /// not text.
    pub(super) fn is_private(&self) -> bool {
        let visibility = self.visibility.as_ref();
        visibility.is_some_and(|name| !matches!(name.as_str(), Some("" | "default" | "public")))
    }
}

/// A person, or a calendar that organizes an event.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Person {
    #[serde(default, deserialize_with = "text")]
    pub(super) email: Option<String>,
    #[serde(rename = "displayName", default, deserialize_with = "text")]
    pub(super) name: Option<String>,
}

/// A guest or a room.
#[derive(Debug, Deserialize)]
pub(super) struct Attendee {
    #[serde(rename = "responseStatus", default, deserialize_with = "text")]
    pub(super) response: Option<String>,
}

/// A time, or a date of an event that lasts all day.
#[derive(Debug, Default, Deserialize)]
pub(super) struct EventTime {
    #[serde(rename = "dateTime", default, deserialize_with = "text")]
    time: Option<String>,
    #[serde(default, deserialize_with = "text")]
    date: Option<String>,
    #[serde(rename = "timeZone", default, deserialize_with = "text")]
    pub(super) time_zone: Option<String>,
}

impl EventTime {
    /// The time (RFC 3339) or the date, as received.
    pub(super) fn value(&self) -> Option<&str> {
        let is_time = |text: &&str| DateTime::parse_from_rfc3339(text).is_ok();
        let is_date = |text: &&str| text.parse::<NaiveDate>().is_ok();
        let time = self.time.as_deref().filter(is_time);
        time.or_else(|| self.date.as_deref().filter(is_date))
    }

    /// Whether it is a date.
    pub(super) fn is_date(&self) -> bool {
        self.time.is_none() && self.date.is_some()
    }
}

/// An entry of the list of calendars.
#[derive(Debug, Deserialize)]
pub(super) struct Calendar {
    #[serde(default, deserialize_with = "text")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) summary: Option<String>,
    /// The name that the person gave to another person's calendar.
    #[serde(rename = "summaryOverride", default, deserialize_with = "text")]
    pub(super) summary_override: Option<String>,
    #[serde(rename = "accessRole", default, deserialize_with = "text")]
    pub(super) access_role: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) primary: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) deleted: bool,
}

/// A private event's row without its content.
pub(super) fn without_content(raw: &RawValue) -> Result<Box<RawValue>, WireError> {
    let mut members: serde_json::Map<String, Value> = read("event", raw)?;
    members.retain(|name, _| PUBLIC_MEMBERS.contains(&name.as_str()));
    serde_json::value::to_raw_value(&members).map_err(|_| WireError::NotAnObject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_time_is_a_time_or_a_date() {
        let value = |json: &str| {
            let at: EventTime = serde_json::from_str(json).expect("a time");
            (at.value().map(str::to_owned), at.is_date())
        };
        let text = |text: &str| Some(text.to_owned());
        let time = "2025-03-24T07:30:00-05:00";
        assert_eq!(
            value(&format!(r#"{{"dateTime":"{time}","timeZone":"UTC"}}"#)),
            (text(time), false)
        );
        assert_eq!(
            value(r#"{"date":"2025-03-24"}"#),
            (text("2025-03-24"), true)
        );
        assert_eq!(value(r#"{"dateTime":"tomorrow"}"#), (None, false));
        assert_eq!(value(r#"{"date":"2025-02-30"}"#), (None, true));
        assert_eq!(value("{}"), (None, false));
    }

    #[test]
    fn unknown_visibility_counts_as_private() {
        for (visibility, is_private) in [
            ("{}", false),
            (r#"{"visibility":"default"}"#, false),
            (r#"{"visibility":"public"}"#, false),
            (r#"{"visibility":"private"}"#, true),
            (r#"{"visibility":"confidential"}"#, true),
            (r#"{"visibility":"secret"}"#, true),
            (r#"{"visibility":7}"#, true),
            (r#"{"visibility":["public"]}"#, true),
            (r#"{"visibility":null}"#, false),
            (r#"{"visibility":""}"#, false),
        ] {
            let event: Event = serde_json::from_str(visibility).expect("an event");
            assert_eq!(event.is_private(), is_private, "{visibility}");
        }
    }
}
