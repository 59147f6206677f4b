//! JSON of events and calendars, as the API returns it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use super::event::{Attendee, Cancellation, Event, EventType};
use super::recurrence::instance_id;
use super::time::{Zone, etag, millis_text};
use super::world::{Calendar, ListEntry, Origin, Role, User, World};

/// Colors of calendars: background and foreground.
const COLORS: [(&str, &str); 3] = [
    ("#9fe1e7", "#000000"),
    ("#16a765", "#000000"),
    ("#4986e7", "#ffffff"),
];

/// How a request wants its events.
#[derive(Clone, Copy)]
pub(super) struct EventView<'a> {
    pub(super) world: &'a World,
    pub(super) calendar: &'a Calendar,
    pub(super) role: Role,
    /// Zone of times, if it is not that of each event.
    pub(super) zone: Option<Zone>,
    pub(super) max_attendees: Option<usize>,
}

impl EventView<'_> {
    /// A row of the list. Cancelled rows keep little more than their ids.
    pub(super) fn event(&self, event: &Event) -> Value {
        let status = if event.is_live() {
            "confirmed"
        } else {
            "cancelled"
        };
        let mut row = json!({
            "kind": "calendar#event", "etag": etag(event.updated), "id": event.id,
            "status": status,
        });
        if let Some(instance) = &event.instance
            && matches!(event.cancelled, None | Some(Cancellation::Instance))
        {
            row["recurringEventId"] = json!(instance.series);
            row["originalStartTime"] = instance.original.json(self.zone);
        }
        if !event.is_live() {
            return row;
        }
        row["start"] = event.start.json(self.zone);
        row["end"] = event.end.json(self.zone);
        if let Some(rule) = &event.recurrence {
            row["recurrence"] = json!([rule.line()]);
        }
        row["created"] = json!(millis_text(event.created * 1_000_000));
        row["updated"] = json!(millis_text(event.updated));
        row["iCalUID"] = json!(event.ical_uid);
        row["sequence"] = json!(event.sequence);
        row["eventType"] = json!(event.kind.name());
        let is_private = event.visibility == Some("private");
        let is_opaque =
            self.role == Role::FreeBusyReader || (is_private && self.role < Role::Writer);
        if is_opaque && event.kind != EventType::Birthday {
            row["visibility"] = json!("private");
            return row;
        }
        self.add_details(&mut row, event);
        row
    }

    fn add_details(&self, row: &mut Value, event: &Event) {
        row["summary"] = json!(event.summary);
        row["htmlLink"] = json!(self.link(event));
        row["creator"] = self.person(&event.creator);
        row["organizer"] = self.person(&event.home);
        row["reminders"] = match event.reminder {
            None => json!({ "useDefault": true }),
            Some(minutes) => json!({
                "useDefault": false, "overrides": [{ "method": "popup", "minutes": minutes }],
            }),
        };
        for (name, text) in [
            ("description", &event.description),
            ("location", &event.location),
        ] {
            if let Some(text) = text {
                row[name] = json!(text);
            }
        }
        if let Some(visibility) = event.visibility {
            row["visibility"] = json!(visibility);
        }
        if event.start.is_day() {
            row["transparency"] = json!("transparent");
        }
        if !event.attendees.is_empty() {
            self.add_attendees(row, event);
        }
        match event.kind {
            EventType::Default => {}
            EventType::OutOfOffice => {
                row["outOfOfficeProperties"] = json!({
                    "autoDeclineMode": "declineOnlyNewConflictingInvitations",
                    "declineMessage": "Declined because I am out of office",
                });
            }
            EventType::WorkingLocation => {
                row["workingLocationProperties"] =
                    json!({ "type": "homeOffice", "homeOffice": {} });
            }
            EventType::FocusTime => {
                row["focusTimeProperties"] = json!({
                    "autoDeclineMode": "declineNone", "chatStatus": "doNotDisturb",
                });
            }
            EventType::Birthday => row["birthdayProperties"] = json!({ "type": "birthday" }),
        }
    }

    fn add_attendees(&self, row: &mut Value, event: &Event) {
        let is_self = |guest: &&Attendee| guest.address == self.calendar.id;
        let max = self.max_attendees.unwrap_or(usize::MAX);
        let is_cut = event.attendees.len() > max;
        let shown = event.attendees.iter();
        let shown: Vec<Value> = shown
            .filter(|guest| !is_cut || is_self(guest))
            .map(|guest| {
                let mut row = json!({
                    "email": guest.address, "responseStatus": guest.response,
                });
                if guest.address == event.home {
                    row["organizer"] = json!(true);
                }
                if is_self(&guest) {
                    row["self"] = json!(true);
                }
                row
            })
            .collect();
        row["attendees"] = json!(shown);
        if is_cut {
            row["attendeesOmitted"] = json!(true);
        }
    }

    /// Creator or organizer; `self` if this is the person's or the calendar's own list.
    fn person(&self, address: &str) -> Value {
        let mut person = json!({ "email": address });
        let is_person = self.world.login(address).is_some();
        if !is_person && let Some(name) = self.world.name_of(address) {
            person["displayName"] = json!(name);
        }
        if address == self.calendar.id {
            person["self"] = json!(true);
        }
        person
    }

    /// Page of the event, which for a series is that of its first instance.
    fn link(&self, event: &Event) -> String {
        let id = if event.recurrence.is_some() {
            instance_id(&event.id, event.start)
        } else {
            event.id.clone()
        };
        let calendar = self.calendar.id.replace("group.calendar.google.com", "g");
        let eid = STANDARD_NO_PAD.encode(format!("{id} {calendar}"));
        format!("https://www.google.com/calendar/event?eid={eid}")
    }
}

/// The fields of a list of events that describe its calendar.
pub(super) fn events_page(calendar: &Calendar, role: Role) -> Value {
    json!({
        "kind": "calendar#events", "etag": page_etag(calendar.updated),
        "summary": calendar.summary, "description": "",
        "updated": millis_text(calendar.updated), "timeZone": calendar.zone.name,
        "accessRole": role.name(), "defaultReminders": default_reminders(calendar),
    })
}

/// An entry of a person's list; removed ones keep little more than the id.
pub(super) fn list_entry(user: &User, entry: &ListEntry, calendar: &Calendar) -> Value {
    let mut row = json!({
        "kind": "calendar#calendarListEntry", "etag": etag(entry.updated), "id": calendar.id,
        "summary": calendar.summary, "timeZone": calendar.zone.name,
        "accessRole": entry.role.name(), "defaultReminders": default_reminders(calendar),
    });
    if entry.is_deleted {
        row["deleted"] = json!(true);
        return row;
    }
    let (background, foreground) = COLORS[entry.color % COLORS.len()];
    row["colorId"] = json!((entry.color + 1).to_string());
    row["backgroundColor"] = json!(background);
    row["foregroundColor"] = json!(foreground);
    row["conferenceProperties"] = json!({ "allowedConferenceSolutionTypes": ["hangoutsMeet"] });
    if entry.is_hidden {
        row["hidden"] = json!(true);
    } else {
        row["selected"] = json!(true);
    }
    match calendar.origin {
        Origin::Published => {
            row["description"] = json!("Holidays and Observances in United States");
        }
        Origin::Secondary => row["dataOwner"] = json!(calendar.data_owner),
        Origin::Primary => {}
    }
    if calendar.id == user.address {
        row["primary"] = json!(true);
        let notification = |kind| json!({ "type": kind, "method": "email" });
        let kinds = [
            "eventCreation",
            "eventChange",
            "eventCancellation",
            "eventResponse",
        ];
        row["notificationSettings"] = json!({ "notifications": kinds.map(notification) });
    }
    row
}

fn default_reminders(calendar: &Calendar) -> Value {
    match calendar.origin {
        Origin::Primary => json!([{ "method": "popup", "minutes": 30 }]),
        Origin::Secondary | Origin::Published => json!([]),
    }
}

/// Entity tag of a list as of this time.
pub(super) fn page_etag(micros: i64) -> String {
    format!("\"p3{micros:x}o0o\"")
}
