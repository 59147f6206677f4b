//! Normalization of a page of events to Signals.
//!
//! Pure functions of one row, except that a page has one Signal for a change of a series: Google
//! returns the series, its exceptions and its later parts for it, all with one `updated`. Where
//! they lie on two pages, both have the same dedupe key. Backfill, polls and push-triggered reads
//! share these functions. The Signal catalogue documents rows, kinds and keys.

mod id;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::id::EventId;
use super::wire::{Attendee, Event, EventTime, Person, WireError, read};
use super::{SLUG, wire};
use crate::connectors::google::Timestamp;
use crate::connectors::page::PageContent;
use crate::connectors::wire::plausible;
use crate::model::{
    Actor, ActorKind, Context, ContextKind, SignalDraft, SignalKind, Subject, TimestampSource,
};

/// Kinds of Signals that this connector emits.
pub(super) const KINDS: &[SignalKind] = &[
    SignalKind::EventCreated,
    SignalKind::EventUpdated,
    SignalKind::EventCancelled,
];

/// Types of events that are not facts of a team's activity.
const IGNORED_TYPES: &[&str] = &["birthday", "workingLocation", "focusTime"];

/// Time after a creation within which `updated` still belongs to it.
///
/// `created` has whole seconds, and at a creation `updated` is less than a second later.
const CREATION_TIME: TimeDelta = TimeDelta::seconds(5);

/// Year of the first release of Google Calendar; an etag with an earlier time is not a time.
const FIRST_YEAR: i32 = 2006;

/// End of the addresses of Google's service accounts.
const SERVICE_ACCOUNT_SUFFIX: &str = ".gserviceaccount.com";

/// The calendar and the time range of a page.
pub(super) struct NormalizeContext<'a> {
    /// Id of the calendar.
    pub(super) calendar: &'a str,
    /// Name of the calendar.
    pub(super) name: Option<&'a str>,
    /// Start of the stream's first read; earlier facts are never emitted.
    pub(super) floor: DateTime<Utc>,
    /// Timestamp of a fact for which the row states none.
    pub(super) received_at: DateTime<Utc>,
}

/// Row with the parts that its Signals share.
struct Row<'a> {
    event: &'a Event,
    id: EventId<'a>,
    raw: Box<RawValue>,
}

/// The part of a Signal in which the kinds differ.
struct Fact {
    kind: SignalKind,
    key: String,
    /// When it happened; `None` if the row does not state it.
    at: Option<Timestamp>,
    actor: Actor,
    normalized: Value,
}

/// Normalizes the rows of a page; an unreadable one does not affect the others.
pub(super) fn normalize_rows(context: &NormalizeContext<'_>, rows: &[&RawValue]) -> PageContent {
    let mut page = PageContent::default();
    let mut updates: HashMap<String, (usize, Voice)> = HashMap::new();
    for raw in rows {
        let result = read_row(context, raw);
        let public = if result.is_err() { withhold(raw) } else { None };
        let kept = public.as_deref().unwrap_or(raw);
        let Some((signals, voice)) = page.unreadable.take(kept, result) else {
            continue;
        };
        for signal in signals {
            if signal.kind != SignalKind::EventUpdated {
                page.signals.push(signal);
                continue;
            }
            match updates.entry(signal.dedupe_key.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert((page.signals.len(), voice));
                    page.signals.push(signal);
                }
                Entry::Occupied(mut entry) if voice < entry.get().1 => {
                    page.signals[entry.get().0] = signal;
                    entry.get_mut().1 = voice;
                }
                Entry::Occupied(_) => {}
            }
        }
    }
    page
}

/// The part of an unreadable row that may be stored; `None` if that is the whole row.
fn withhold(raw: &RawValue) -> Option<Box<RawValue>> {
    let event: Event = read("event", raw).ok()?;
    let is_private = event.is_private();
    is_private
        .then(|| wire::without_content(raw).ok())
        .flatten()
}

/// Which row describes a change of a series; the lowest one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Voice {
    /// The event or the series itself.
    Series,
    /// A later part of a series.
    Part,
    /// An instance.
    Instance,
}

/// Returns the Signals of a row, and as what it describes a change.
fn read_row(
    context: &NormalizeContext<'_>,
    raw: &RawValue,
) -> Result<(Vec<SignalDraft>, Voice), WireError> {
    let event: Event = read("event", raw)?;
    let id = event.id.as_deref().ok_or(WireError::Missing("event.id"))?;
    let row = Row {
        id: EventId::parse(id),
        raw: if event.is_private() {
            wire::without_content(raw)?
        } else {
            raw.to_owned()
        },
        event: &event,
    };
    let voice = if event.recurring_event_id.is_some() {
        Voice::Instance
    } else if row.id.is_part() {
        Voice::Part
    } else {
        Voice::Series
    };
    let facts = row.facts(context)?;
    let signals = facts.into_iter().map(|fact| context.signal(&row, fact));
    Ok((signals.collect(), voice))
}

impl Row<'_> {
    /// The row's facts since the floor.
    fn facts(&self, context: &NormalizeContext<'_>) -> Result<Vec<Fact>, WireError> {
        let event = self.event;
        let event_type = event.kind.as_deref();
        if event_type.is_some_and(|name| IGNORED_TYPES.contains(&name)) {
            return Ok(Vec::new());
        }
        let updated = event.updated.or_else(|| etag_time(event.etag.as_deref()?));
        let is_recent = |at: Timestamp| at.0 >= context.floor;
        if event.is_cancelled() {
            let cancelled = updated.is_none_or(is_recent).then(|| Fact {
                kind: SignalKind::EventCancelled,
                key: format!("event:{}:cancelled", self.id.full),
                at: updated,
                actor: Actor::unknown(),
                normalized: json!({
                    "series_id": self.series_id(),
                    "original_start": event.original_start.value(),
                }),
            });
            return Ok(cancelled.into_iter().collect());
        }
        let created = event.created.ok_or(WireError::Missing("event.created"))?;
        let mut facts = Vec::new();
        // An exception and a part of a series have the series' time of creation.
        let is_own = event.recurring_event_id.is_none() && !self.id.is_part();
        if is_own && is_recent(created) {
            facts.push(Fact {
                kind: SignalKind::EventCreated,
                key: format!("event:{}:created", self.id.full),
                at: Some(created),
                actor: actor(event.creator.as_ref()),
                normalized: self.describe(),
            });
        }
        let is_change = |at: Timestamp| is_recent(at) && at.0 - created.0 > CREATION_TIME;
        match updated {
            Some(updated) if is_change(updated) => facts.push(Fact {
                kind: SignalKind::EventUpdated,
                key: format!("event:{}:updated:{updated}", self.id.base),
                at: Some(updated),
                // Google does not state who changed it.
                actor: Actor::unknown(),
                normalized: self.describe(),
            }),
            // A change without a time has no key; the creation has one.
            None if facts.is_empty() => return Err(WireError::Missing("event.updated")),
            _ => {}
        }
        Ok(facts)
    }

    /// Id of the series that an instance or a part belongs to.
    fn series_id(&self) -> Option<&str> {
        let stated = self.event.recurring_event_id.as_deref();
        stated.or_else(|| (self.id.base != self.id.full).then_some(self.id.base))
    }

    fn describe(&self) -> Value {
        let event = self.event;
        let EventTime { time_zone, .. } = &event.start;
        let organizer = event.organizer.as_ref();
        let organizer = organizer.filter(|one| one.email.is_some() || one.name.is_some());
        // A part of the guests would be a wrong number.
        let attendees = (!event.omits_attendees).then_some(event.attendees.as_slice());
        json!({
            "start": event.start.value(),
            "end": event.end.value(),
            "all_day": event.start.is_date(),
            "time_zone": time_zone,
            "recurring": !event.recurrence.is_empty() || event.recurring_event_id.is_some(),
            "series_id": self.series_id(),
            "original_start": event.original_start.value(),
            "event_type": event.kind,
            "status": event.status,
            "ical_uid": event.ical_uid,
            "organizer": organizer.map(|one| json!({ "id": one.email, "name": one.name })),
            "attendees": attendees.map(<[Attendee]>::len),
            "responses": attendees.map(responses),
            "private": event.is_private(),
        })
    }
}

impl NormalizeContext<'_> {
    fn signal(&self, row: &Row<'_>, fact: Fact) -> SignalDraft {
        let event = row.event;
        SignalDraft {
            kind: fact.kind,
            dedupe_key: format!("{SLUG}:{}:{}", self.calendar, fact.key),
            timestamp: fact.at.map_or(self.received_at, |at| at.0),
            timestamp_source: match fact.at {
                Some(_) => TimestampSource::Provider,
                None => TimestampSource::Received,
            },
            actor: fact.actor,
            subject: Subject {
                kind: "event".to_owned(),
                id: row.id.full.to_owned(),
                key: None,
                title: event.summary.clone().filter(|_| !event.is_private()),
                url: event.url.clone(),
            },
            context: Context {
                kind: ContextKind::Calendar,
                id: self.calendar.to_owned(),
                name: self.name.map(str::to_owned),
            },
            normalized: fact.normalized,
            raw: row.raw.clone(),
        }
        .cleaned()
    }
}

/// The time in an etag, which is twice the microseconds of `updated`.
///
/// Undocumented, and exact in nearly all recorded rows; what is left of a deleted event has no
/// other time.
fn etag_time(etag: &str) -> Option<Timestamp> {
    let number: i64 = etag.trim_matches('"').parse().ok()?;
    let at = DateTime::from_timestamp_micros(number / 2).and_then(plausible)?;
    (at.year() >= FIRST_YEAR).then_some(Timestamp(at))
}

fn actor(person: Option<&Person>) -> Actor {
    let id = person.and_then(|person| person.email.clone());
    let name = person.and_then(|person| person.name.clone());
    if id.is_none() && name.is_none() {
        return Actor::unknown();
    }
    let is_app = id
        .as_deref()
        .is_some_and(|id| id.ends_with(SERVICE_ACCOUNT_SUFFIX));
    let kind = if is_app {
        ActorKind::App
    } else {
        ActorKind::User
    };
    Actor { id, name, kind }
}

/// Numbers of responses to the invitation.
fn responses(attendees: &[Attendee]) -> Value {
    let count = |response: &str| {
        let given = attendees.iter().filter_map(|one| one.response.as_deref());
        given.filter(|given| *given == response).count()
    };
    json!({
        "accepted": count("accepted"),
        "declined": count("declined"),
        "tentative": count("tentative"),
        "needs_action": count("needsAction"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etag_is_twice_the_microseconds() {
        let at = |etag: &str| etag_time(etag).map(|at| at.to_string());
        let updated = Some("2025-03-25T13:06:14.176Z".to_owned());
        assert_eq!(at("\"3485815948352798\""), updated);
        assert_eq!(at("3485815948352799"), updated, "an odd one, unquoted");
        for other in [
            "",
            "\"p32nsfe61kqioo0o\"",
            "\"2\"",
            "\"-2\"",
            "\"9223372036854775807\"",
        ] {
            assert_eq!(at(other), None, "{other}");
        }
    }
}
