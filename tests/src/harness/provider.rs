//! Facts about providers that the harness needs; its other files name no provider.

use provider_sim::Config;
use serde_json::{Value, json};
use uuid::Uuid;

/// Provider of tests whose subject is not a provider.
pub const DEFAULT_PROVIDER: &str = "github";

/// Settings with which the connectors' own rate limits delay no test.
pub(super) const FAST_LIMITS: [(&str, &str); 11] = [
    ("POBLYSH_GITHUB_REQUESTS_PER_SECOND", "500"),
    ("POBLYSH_GITHUB_BURST", "1000"),
    ("POBLYSH_SLACK_RATE_FACTOR", "10000"),
    ("POBLYSH_JIRA_POINTS_PER_SECOND", "1000000"),
    ("POBLYSH_JIRA_SITE_POINTS_PER_SECOND", "1000000"),
    ("POBLYSH_JIRA_REQUESTS_PER_SECOND", "1000"),
    ("POBLYSH_JIRA_BURST", "1000000"),
    ("POBLYSH_GOOGLE_GMAIL_UNITS_PER_MINUTE", "2000000000"),
    ("POBLYSH_GOOGLE_GMAIL_USER_UNITS_PER_MINUTE", "2000000000"),
    ("POBLYSH_GOOGLE_DRIVE_UNITS_PER_MINUTE", "2000000000"),
    ("POBLYSH_GOOGLE_DRIVE_USER_UNITS_PER_MINUTE", "2000000000"),
];

/// The event of [`open_issue`].
pub(super) const EVENT: &str = "issues";
/// Setting with the secret that signs the default provider's deliveries.
pub(super) const WEBHOOK_SECRET: &str = "POBLYSH_GITHUB_WEBHOOK_SECRET";

/// Action of the default provider that opens an issue whose delivery has about 7 KB.
pub(super) fn open_issue(account: &str) -> Value {
    let text = "One sentence of a rather long description of the issue ".repeat(80);
    json!({
        "account": account,
        "repository": "service-1",
        "action": "issues.opened",
        "title": "A template",
        "body": text,
    })
}

/// Dedupe key of the fact that an issue was opened.
pub(super) fn opened_key(issue: u64) -> String {
    format!("{DEFAULT_PROVIDER}:issue:{issue}:created")
}

/// Headers of a delivery with the hexadecimal signature of its body.
pub(super) fn webhook_headers(delivery: Uuid, signature: &str) -> [(&'static str, String); 3] {
    [
        ("x-github-event", EVENT.to_owned()),
        ("x-github-delivery", delivery.to_string()),
        ("x-hub-signature-256", format!("sha256={signature}")),
    ]
}

/// Provider whose use of an hourly quota is measured.
pub(super) struct QuotaProvider {
    pub(super) slug: &'static str,
    /// The simulator's name of the quota.
    pub(super) limit: &'static str,
    /// Configures an account with this many containers and the largest quota.
    pub(super) configure: fn(&mut Config, usize),
    /// Actions whose webhooks are lost in turn, some with a state; each is on a different list.
    pub(super) lost_actions: &'static [(&'static str, Option<&'static str>)],
}

/// The provider of `large_accounts::QuotaUse`.
pub(super) const QUOTA_PROVIDER: QuotaProvider = QuotaProvider {
    slug: "github",
    limit: "core",
    configure: |sim, repositories| {
        (sim.accounts, sim.people) = (1, 150);
        sim.providers.github.repositories = repositories;
    },
    lost_actions: &[
        ("issues.opened", None),
        ("star.created", None),
        ("release.published", None),
        ("workflow_run.completed", None),
        ("pull_request_review.submitted", Some("approved")),
        ("issue_comment.created", None),
    ],
};

/// Configures a Slack workspace whose first sync takes most of an hour within its limits.
pub fn configure_large_slack_workspace(sim: &mut Config) {
    (sim.people, sim.history) = (10_000, 5);
    let slack = &mut sim.providers.slack;
    (slack.channels, slack.replies) = (2_000, Some(1));
}
