//! Jira.

use serde_json::json;

use crate::pace::Pace;
use crate::provider::Provider;

pub(crate) fn provider() -> Provider {
    Provider {
        slug: "jira",
        prepare: |_| {},
        page_requests: "search/jql",
        next_page_requests: "search/jql",
        token_requests: "oauth/token",
        identity_requests: "rest/api/3/myself",
        refresh_counter: "jira.refreshes",
        expire: |_, admin| json!({ "expire": admin }),
        revoke: Some(|_, admin| json!({ "revoke": admin })),
        subscriptions: 1,
        connection_webhook: None,
        rejected_requests: 30,
        pace: PACE,
    }
}

/// 280 projects with two issues each: versions are listed at most ten times per second.
///
/// In the long form 60 projects. Repeated: the pages of projects, every project's versions, the
/// statuses, the boards and a board's sprints, up to a dozen pages in the long form.
const PACE: Pace = Pace {
    configure: |sim| {
        sim.history = 4;
        let jira = &mut sim.providers.jira;
        (jira.projects, jira.issues) = (280, Some(2));
    },
    configure_long: |sim| {
        sim.history = 1_250;
        let jira = &mut sim.providers.jira;
        (jira.projects, jira.issues) = (60, Some(500));
    },
    found_by_polling: &[
        "issue.created",
        "issue.transitioned",
        "comment.created",
        "version.released",
    ],
    states: 300,
    long_states: 78,
};
