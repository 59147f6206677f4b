//! Calls of the Calendar API, each of which costs one unit, and the errors of its lists.
//!
//! Source of the costs: "Manage quotas" of the Calendar API at developers.google.com.

use http::StatusCode;
use url::Url;

use crate::connectors::google::{ApiError, Call, Client};
use crate::connectors::{Access, ConnectorError};
use crate::http::Priority;

/// Scope of events.
pub(super) const EVENTS: &str = "https://www.googleapis.com/auth/calendar.events.readonly";
/// Scope of the list of calendars.
pub(super) const CALENDARS: &str = "https://www.googleapis.com/auth/calendar.calendarlist.readonly";

/// Cost of every call.
const UNITS: u32 = 1;

/// Reason of a token that Google does not know.
const INVALID: &str = "invalid";

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

pub(super) fn is_gone(error: &ApiError) -> bool {
    error.is(StatusCode::GONE)
}

/// Maps the error of a list, which restarts the stream if a token has expired or is unknown.
///
/// The status decides, because some of these responses have no reason.
pub(super) fn list_error(error: ApiError, has_token: bool) -> ConnectorError {
    let is_unknown = error.is(StatusCode::BAD_REQUEST) && error.code == INVALID;
    if !(is_gone(&error) || (is_unknown && has_token)) {
        return error.into();
    }
    error.cause.into_cursor_expired()
}
