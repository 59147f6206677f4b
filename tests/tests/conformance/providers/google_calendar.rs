//! Google Calendar.

use serde_json::json;

use crate::pace::Pace;
use crate::provider::Provider;

pub(crate) fn provider() -> Provider {
    Provider {
        slug: "google_calendar",
        prepare: |simulator| {
            simulator.change_google_calendar(|settings| settings.max_page_size = 20);
        },
        page_requests: "GET /google/calendar/v3/calendars/*/events",
        next_page_requests: "GET /google/calendar/v3/calendars/*?*pageToken",
        token_requests: "POST /google/token",
        identity_requests: "userinfo",
        refresh_counter: "google.refreshes",
        expire: |account, _| json!({ "expire": account }),
        revoke: Some(|account, _| json!({ "revoke": account })),
        // The primary calendar and another one.
        subscriptions: 2,
        connection_webhook: None,
        rejected_requests: 30,
        pace: PACE,
    }
}

/// 281 calendars with two events each; a person has 600 requests per minute.
///
/// Repeated: the pages of the list of calendars, and the changes of each calendar.
const PACE: Pace = Pace {
    configure: |sim| {
        sim.history = 2;
        sim.providers.google_calendar.calendars = 280;
    },
    configure_long: |sim| {
        sim.history = 30;
        sim.providers.google_calendar.calendars = 2_000;
    },
    found_by_polling: &["event.created", "event.edited", "event.cancelled"],
    states: 300,
    long_states: 2_110,
};
