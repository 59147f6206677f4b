//! Parameters of a list of events.

use chrono::DateTime;

use super::errors;
use super::event::{Event, EventType};
use super::settings::Settings;
use super::time::Zone;
use super::world::Calendar;
use crate::google::api::Call;
use crate::google::error::ApiError;

/// Parameters that an incremental list must not have.
const FORBIDDEN_WITH_SYNC_TOKEN: [&str; 8] = [
    "iCalUID",
    "orderBy",
    "privateExtendedProperty",
    "q",
    "sharedExtendedProperty",
    "timeMin",
    "timeMax",
    "updatedMin",
];

/// Order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// That of the changes, which a client must not rely on.
    Unspecified,
    Updated,
    StartTime,
}

/// Parsed parameters of a list of events.
#[expect(clippy::struct_excessive_bools, reason = "independent parameters")]
pub(super) struct EventQuery<'a> {
    pub(super) is_incremental: bool,
    pub(super) singles: bool,
    pub(super) order: Order,
    pub(super) zone: Option<Zone>,
    pub(super) max_attendees: Option<usize>,
    /// Seconds since the epoch.
    pub(super) time_min: Option<i64>,
    pub(super) time_max: Option<i64>,
    shows_deleted: bool,
    /// Microseconds since the epoch.
    updated_min: Option<i64>,
    text: Option<String>,
    ical_uid: Option<&'a str>,
    types: Vec<EventType>,
    has_property: bool,
}

impl<'a> EventQuery<'a> {
    /// Reads the parameters; `is_incremental` if the request continues from a sync token.
    pub(super) fn parse(
        call: &'a Call<'_>,
        is_incremental: bool,
        settings: &Settings,
        now: i64,
    ) -> Result<Self, ApiError> {
        if is_incremental {
            let mut forbidden = FORBIDDEN_WITH_SYNC_TOKEN.into_iter();
            if let Some(name) = forbidden.find(|name| call.text(name).is_some()) {
                return Err(errors::not_allowed(name));
            }
            if call.text("showDeleted") == Some("false") {
                return Err(errors::not_allowed("showDeleted"));
            }
        }
        let singles = call.flag("singleEvents")?;
        let order = match call.text("orderBy") {
            None => Order::Unspecified,
            Some("updated") => Order::Updated,
            Some("startTime") if singles => Order::StartTime,
            Some("startTime") => return Err(errors::not_allowed("orderBy")),
            Some(_) => return Err(ApiError::invalid_parameter("orderBy")),
        };
        let seconds = |name| Ok::<_, ApiError>(micros(call, name)?.map(|at| at / 1_000_000));
        let (time_min, time_max) = (seconds("timeMin")?, seconds("timeMax")?);
        if let (Some(min), Some(max)) = (time_min, time_max)
            && min >= max
        {
            return Err(errors::time_range_empty());
        }
        let updated_min = micros(call, "updatedMin")?;
        if let (Some(min), Some(days)) = (updated_min, settings.max_updated_min_days)
            && min < (now - days * 86_400) * 1_000_000
        {
            return Err(errors::updated_min_too_long_ago());
        }
        Ok(Self {
            is_incremental,
            singles,
            order,
            zone: zone(call)?,
            max_attendees: max_attendees(call)?,
            time_min,
            time_max,
            shows_deleted: call.flag("showDeleted")?,
            updated_min,
            text: call.text("q").map(str::to_lowercase),
            ical_uid: call.text("iCalUID"),
            types: types(call)?,
            has_property: ["privateExtendedProperty", "sharedExtendedProperty"]
                .iter()
                .any(|name| call.text(name).is_some()),
        })
    }

    /// Whether the list has a row.
    pub(super) fn accepts(&self, event: &Event) -> bool {
        if !event.is_live() {
            let is_shown = self.is_incremental
                || self.shows_deleted
                || self.updated_min.is_some()
                || (!event.is_tombstone() && !self.singles);
            if !is_shown {
                return false;
            }
        }
        let is_of_type =
            !event.is_live() || self.types.is_empty() || self.types.contains(&event.kind);
        is_of_type
            && self.updated_min.is_none_or(|min| event.updated >= min)
            && self.ical_uid.is_none_or(|uid| event.ical_uid == uid)
            && self.text.as_ref().is_none_or(|text| has_text(event, text))
            // Events have no extended properties.
            && !self.has_property
            && self.is_in_time(event)
    }

    fn is_in_time(&self, event: &Event) -> bool {
        let end = match &event.recurrence {
            None => event.end.seconds(),
            Some(rule) => rule.until.map_or(i64::MAX, super::time::When::seconds),
        };
        self.time_min.is_none_or(|min| end > min)
            && self.time_max.is_none_or(|max| event.start.seconds() < max)
    }

    /// Whether the list has a sync token at its end.
    ///
    /// Expanded series have none.
    pub(super) const fn has_sync_token(&self) -> bool {
        !self.singles && matches!(self.order, Order::Unspecified)
    }

    /// Rows of a list with an order of its own, without instances.
    pub(super) fn sorted<'c>(&self, calendar: &'c Calendar) -> Vec<&'c Event> {
        let events = calendar.events.values();
        let mut rows: Vec<&Event> = events.filter(|event| self.accepts(event)).collect();
        rows.sort_by_key(|event| event.updated);
        rows
    }
}

/// Zone of the times in the response.
fn zone(call: &Call<'_>) -> Result<Option<Zone>, ApiError> {
    let Some(name) = call.text("timeZone") else {
        return Ok(None);
    };
    let zone = Zone::find(name).ok_or_else(|| ApiError::invalid_parameter("timeZone"))?;
    Ok(Some(zone))
}

/// Types to which the list is restricted.
fn types(call: &Call<'_>) -> Result<Vec<EventType>, ApiError> {
    let find =
        |name| EventType::find(name).ok_or_else(|| ApiError::invalid_parameter("eventTypes"));
    call.texts("eventTypes").map(find).collect()
}

/// Maximum number of attendees in an event.
pub(super) fn max_attendees(call: &Call<'_>) -> Result<Option<usize>, ApiError> {
    let Some(text) = call.text("maxAttendees") else {
        return Ok(None);
    };
    match text.parse() {
        Ok(max) if max >= 1 => Ok(Some(max)),
        _ => Err(ApiError::invalid_parameter("maxAttendees")),
    }
}

/// A timestamp in microseconds.
fn micros(call: &Call<'_>, name: &str) -> Result<Option<i64>, ApiError> {
    let Some(text) = call.text(name) else {
        return Ok(None);
    };
    DateTime::parse_from_rfc3339(text)
        .map(|at| Some(at.timestamp_micros()))
        .map_err(|_| ApiError::invalid_parameter(name))
}

fn has_text(event: &Event, text: &str) -> bool {
    let guests = event.attendees.iter().map(|guest| guest.address.as_str());
    [Some(event.summary.as_str()), event.description.as_deref()]
        .into_iter()
        .chain([event.location.as_deref(), Some(event.home.as_str())])
        .flatten()
        .chain(guests)
        .any(|part| part.to_lowercase().contains(text))
}
