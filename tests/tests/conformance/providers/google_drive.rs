//! Google Drive.

use serde_json::json;

use crate::pace::Pace;
use crate::provider::Provider;

pub(crate) fn provider() -> Provider {
    Provider {
        slug: "google_drive",
        prepare: |simulator| simulator.change_google_drive(|drive| drive.max_page_size = 20),
        page_requests: "GET /google/drive/v3/changes",
        next_page_requests: "GET /google/drive/v3/changes?*pageToken",
        token_requests: "POST /google/token",
        identity_requests: "userinfo",
        refresh_counter: "google.refreshes",
        expire: |account, _| json!({ "expire": account }),
        revoke: Some(|account, _| json!({ "revoke": account })),
        // The person's log and a shared drive's.
        subscriptions: 2,
        connection_webhook: None,
        rejected_requests: 30,
        pace: PACE,
    }
}

/// 700 shared drives with a stream and a channel each: a list costs 100 units.
///
/// Repeated: the list of drives and the end of each log.
const PACE: Pace = Pace {
    configure: |sim| {
        sim.history = 1;
        sim.providers.google_drive.shared_drives = 700;
    },
    configure_long: |sim| {
        sim.history = 20;
        sim.providers.google_drive.shared_drives = 5_000;
    },
    found_by_polling: &[
        "file.created",
        "file.edited",
        "file.trashed",
        "file.deleted",
    ],
    states: 720,
    long_states: 5_100,
};
