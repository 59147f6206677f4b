//! Gmail.

use serde_json::json;

use crate::pace::Pace;
use crate::provider::Provider;

pub(crate) fn provider() -> Provider {
    Provider {
        slug: "gmail",
        // Otherwise Gmail drops notifications of the same second.
        prepare: |simulator| simulator.change_gmail(|gmail| gmail.notification_milliseconds = 0),
        page_requests: "users/me/*?*maxResults",
        next_page_requests: "users/me/messages/",
        token_requests: "POST /google/token",
        identity_requests: "userinfo",
        refresh_counter: "google.refreshes",
        expire: |account, _| json!({ "expire": account }),
        revoke: Some(|account, _| json!({ "revoke": account })),
        subscriptions: 1,
        connection_webhook: None,
        rejected_requests: 30,
        pace: PACE,
    }
}

/// 200 messages, of which 240 can be read per minute.
///
/// Repeated: the profile and the unchanged history; in the long form the history of every minute of
/// the first read, which takes three hours.
const PACE: Pace = Pace {
    configure: |sim| sim.history = 200,
    configure_long: |sim| sim.history = 40_000,
    found_by_polling: &["mail.received", "mail.sent", "mail.to_self"],
    states: 2,
    long_states: 100,
};
