//! GitHub.

use serde_json::json;

use crate::pace::Pace;
use crate::provider::Provider;

pub(crate) fn provider() -> Provider {
    Provider {
        slug: "github",
        prepare: |_| {},
        page_requests: "GET /repos/*/issues",
        next_page_requests: "GET /repos/*/pulls/*/reviews",
        token_requests: "access_tokens",
        identity_requests: "GET /user/installations",
        refresh_counter: "github.installation_tokens",
        expire: |_, _| json!({ "expire": "installation" }),
        revoke: None,
        subscriptions: 0,
        connection_webhook: None,
        rejected_requests: 30,
        pace: PACE,
    }
}

/// 280 streams. With 150 people the installation has the largest quota, 12,500 per hour.
///
/// Repeated: the list of repositories.
const PACE: Pace = Pace {
    configure: |sim| {
        (sim.people, sim.history) = (150, 5);
        sim.providers.github.repositories = 40;
    },
    configure_long: |sim| {
        (sim.people, sim.history) = (150, 2_500);
        sim.providers.github.repositories = 40;
    },
    found_by_polling: &[
        "issues.opened",
        "issue_comment.created",
        "pull_request.opened",
        "pull_request_review.submitted",
        "release.published",
        "workflow_run.completed",
        "star.created",
    ],
    states: 1,
    long_states: 1,
};
