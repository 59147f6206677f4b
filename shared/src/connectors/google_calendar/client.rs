//! Calls of the Calendar API, each of which costs one unit.
//!
//! Source of the costs: "Manage quotas" of the Calendar API at developers.google.com.

use url::Url;

use crate::connectors::Access;
use crate::connectors::google::{Call, Client};
use crate::http::Priority;

/// Scope of events.
pub(super) const EVENTS: &str = "https://www.googleapis.com/auth/calendar.events.readonly";
/// Scope of the list of calendars.
pub(super) const CALENDARS: &str = "https://www.googleapis.com/auth/calendar.calendarlist.readonly";

/// Cost of every call.
const UNITS: u32 = 1;

/// A call of immediate priority.
pub(super) const fn call<'a>(
    access: &'a Access,
    operation: &'static str,
    scope: &'static str,
) -> Call<'a> {
    Call {
        access,
        operation,
        units: UNITS,
        scope,
        priority: Priority::Immediate,
    }
}

/// The URL of a path of the Calendar API.
pub(super) fn url(client: &Client, path: &[&str]) -> Url {
    let path: Vec<&str> = ["calendar", "v3"].iter().chain(path).copied().collect();
    client.api_url(&path)
}
