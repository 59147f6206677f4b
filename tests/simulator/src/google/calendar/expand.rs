//! Series as single events, for lists with `singleEvents`.

use super::event::{Event, Instance};
use super::query::{EventQuery, Order};
use super::recurrence::instance_id;
use super::world::Calendar;

/// Instances of a series without an end are listed this far ahead.
const MAX_SECONDS_AHEAD: i64 = 2 * 365 * 86_400;
/// Maximum number of instances of a series.
const MAX_INSTANCES: u32 = 1_000;

/// Single events and instances that the query selects, in its order.
pub(super) fn instances(calendar: &Calendar, query: &EventQuery<'_>, now: i64) -> Vec<Event> {
    let limit = query.time_max.unwrap_or(now + MAX_SECONDS_AHEAD);
    let mut rows = Vec::new();
    for event in calendar.events.values() {
        let Some(rule) = event.recurrence.filter(|_| event.is_live()) else {
            if event.recurrence.is_none() {
                rows.push(event.clone());
            }
            continue;
        };
        for original in rule.occurrences(event.start, limit, MAX_INSTANCES) {
            let id = instance_id(&event.id, original);
            if calendar.events.contains_key(&id) {
                continue;
            }
            let mut row = event.clone();
            row.id = id;
            row.recurrence = None;
            row.place_at(original);
            row.instance = Some(Instance {
                series: event.id.clone(),
                original,
            });
            rows.push(row);
        }
    }
    rows.retain(|event| query.accepts(event));
    match query.order {
        Order::StartTime => rows.sort_by_key(|event| event.start.seconds()),
        Order::Updated => rows.sort_by_key(|event| event.updated),
        Order::Unspecified => {}
    }
    rows
}
