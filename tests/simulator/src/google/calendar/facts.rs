//! Facts of the rows of a calendar, as the mapping to Signals defines them.
//!
//! Each fact depends on one row only, so the facts of an event with its instances and parts are
//! derived again after every change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::event::{Event, EventType};
use super::recurrence::base;
use super::world::{Calendar, Role, World};
use crate::ledger::{Fact, Ledger};

/// Slug in the ledger.
pub(crate) const SOURCE: &str = "google_calendar";

/// Time from creation within which a change belongs to the creation, in milliseconds.
const CREATION_MILLIS: i64 = 5_000;

/// A fact that a row of a calendar shows or has shown.
#[derive(Default)]
struct Recorded {
    is_shown: bool,
    /// Ledger rows by login.
    rows: BTreeMap<String, u64>,
}

/// Facts of a calendar by base and key.
#[derive(Default)]
pub(crate) struct CalendarFacts {
    bases: BTreeMap<String, BTreeMap<String, Recorded>>,
}

impl CalendarFacts {
    /// Ledger rows of a person for the facts of a row as it was sent.
    pub(crate) fn of_row(&self, row: &Value, login: &str) -> Vec<u64> {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let id = text("id");
        let keys = match text("status") {
            "cancelled" => vec![cancelled_key(id)],
            _ => vec![created_key(id), updated_key(id, text("updated"))],
        };
        let facts = self.bases.get(base(id)).into_iter();
        facts
            .flat_map(|facts| keys.iter().filter_map(|key| facts.get(key)))
            .filter_map(|fact| fact.rows.get(login).copied())
            .collect()
    }
}

fn cancelled_key(id: &str) -> String {
    format!("event:{id}:cancelled")
}

fn created_key(id: &str) -> String {
    format!("event:{id}:created")
}

fn updated_key(id: &str, updated: &str) -> String {
    format!("event:{}:updated:{updated}", base(id))
}

/// A fact without its calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) kind: &'static str,
    /// Dedupe key without the prefix `google_calendar:{calendar}:`.
    pub(crate) key: String,
    /// Seconds since the epoch.
    pub(crate) at: i64,
}

/// The facts of a row.
pub(crate) fn drafts(event: &Event) -> Vec<Draft> {
    let updated = event.updated.div_euclid(1_000_000);
    if !event.is_live() {
        // A cancelled row does not show its type.
        return vec![Draft {
            kind: "event_cancelled",
            key: cancelled_key(&event.id),
            at: updated,
        }];
    }
    if matches!(
        event.kind,
        EventType::Birthday | EventType::WorkingLocation | EventType::FocusTime
    ) {
        return Vec::new();
    }
    let mut drafts = Vec::new();
    if event.is_original() {
        drafts.push(Draft {
            kind: "event_created",
            key: created_key(&event.id),
            at: event.created,
        });
    }
    if event.updated.div_euclid(1_000) - event.created * 1_000 > CREATION_MILLIS {
        let text = super::time::millis_text(event.updated);
        drafts.push(Draft {
            kind: "event_updated",
            key: updated_key(&event.id, &text),
            at: updated,
        });
    }
    drafts
}

/// Records the facts of an event with its instances and parts, and hides those that are gone.
///
/// Returns the ledger rows of new facts.
pub(crate) fn settle(
    world: &mut World,
    ledger: &Ledger,
    calendar_id: &str,
    base_id: &str,
) -> Vec<u64> {
    let Some(calendar) = world.calendars.get(calendar_id) else {
        return Vec::new();
    };
    let family = calendar.family(base_id);
    let derived: BTreeMap<String, Draft> = family
        .iter()
        .flat_map(|id| drafts(&calendar.events[id]))
        .map(|draft| (draft.key.clone(), draft))
        .collect();
    let readers: Vec<(String, u64)> = readers(world, calendar);
    let calendar = world
        .calendars
        .get_mut(calendar_id)
        .expect("the calendar exists");
    let facts = calendar.facts.bases.entry(base_id.to_owned()).or_default();
    for (key, fact) in facts.iter_mut() {
        if fact.is_shown && !derived.contains_key(key) {
            fact.is_shown = false;
            let rows: Vec<u64> = fact.rows.values().copied().collect();
            ledger.hide(&rows);
        }
    }
    let mut new = Vec::new();
    for (key, draft) in derived {
        let fact = facts.entry(key.clone()).or_default();
        let is_back = !fact.is_shown;
        fact.is_shown = true;
        for (login, container) in &readers {
            if !is_back && fact.rows.contains_key(login) {
                continue;
            }
            let seq = ledger.record(Fact {
                source: SOURCE,
                account: login.clone(),
                kind: draft.kind,
                key: format!("{SOURCE}:{calendar_id}:{key}"),
                at: draft.at,
                container: *container,
                webhook: false,
                pollable: true,
            });
            fact.rows.insert(login.clone(), seq);
            new.push(seq);
        }
    }
    new
}

/// Records all facts that a calendar shows, after a person got access to it.
pub(crate) fn settle_calendar(world: &mut World, ledger: &Ledger, calendar_id: &str) -> Vec<u64> {
    let Some(calendar) = world.calendars.get(calendar_id) else {
        return Vec::new();
    };
    let bases: BTreeSet<String> = calendar
        .events
        .keys()
        .map(|id| base(id).to_owned())
        .collect();
    bases
        .iter()
        .flat_map(|base_id| settle(world, ledger, calendar_id, base_id))
        .collect()
}

/// People who can write to a calendar, with the containers of their list entries.
fn readers(world: &World, calendar: &Calendar) -> Vec<(String, u64)> {
    let entry_of = |login: &String| {
        let entry = world.users.get(login)?.list.get(&calendar.id)?;
        (entry.role >= Role::Writer).then(|| (login.clone(), entry.container))
    };
    calendar.writers.iter().filter_map(entry_of).collect()
}
