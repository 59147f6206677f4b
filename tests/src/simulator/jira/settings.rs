//! What a test may change about the app and the service while they run.

use serde::{Deserialize, Serialize};

/// Settings in force; the control API shows and replaces them field by field.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says yes or no to a question of its own"
)]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Where browsers are sent back to.
    pub callback_url: String,
    /// Where the app takes webhooks; they go where each was registered. Empty: none are sent at
    /// all.
    pub webhook_url: String,
    /// Webhooks that sites' administrators have set up, for every event.
    pub admin_webhooks: Vec<AdminWebhook>,
    /// Persons decline at the consent page.
    pub deny_authorizations: bool,
    /// Scopes that consents do not give, whatever was asked for.
    pub withheld_scopes: Vec<String>,
    /// Changes younger than this are not found by searches.
    pub index_lag_seconds: i64,
    /// Points per hour of the whole app; without limit when absent.
    pub points_per_hour: Option<u64>,
    /// Points per hour of each site; without limit when absent.
    pub site_points_per_hour: Option<u64>,
    /// Requests per second of a site and endpoint, half as many where the method is PUT or
    /// DELETE; without limit when absent.
    pub requests_per_second: Option<u64>,
    /// Points are counted and told, but nothing is refused yet.
    pub limits_announced: bool,
    /// Events that are refused to whoever asks for them.
    pub refused_events: Vec<String>,
    /// Deliveries about new comments do not say of which issue.
    pub comments_without_issue: bool,
    /// Comments are announced by an update of the issue, too.
    pub comments_update_issues: bool,
    /// Pauses before the retries of a delivery, in seconds.
    pub retry_seconds: Vec<f64>,
    /// Life of an access token.
    pub token_seconds: i64,
    /// Worklogs younger than this are not listed; at Jira, a minute.
    pub worklog_delay_seconds: i64,
    /// How long a used refresh token is taken again.
    pub reuse_seconds: i64,
}

/// A webhook that a site's administrator has set up by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminWebhook {
    /// The site.
    pub account: String,
    /// Where its deliveries go.
    pub url: String,
    /// The secret that they are signed with.
    pub secret: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            callback_url: String::new(),
            webhook_url: String::new(),
            admin_webhooks: Vec::new(),
            deny_authorizations: false,
            withheld_scopes: Vec::new(),
            index_lag_seconds: 0,
            points_per_hour: Some(65_000),
            site_points_per_hour: Some(100_000),
            requests_per_second: Some(100),
            limits_announced: false,
            refused_events: Vec::new(),
            comments_without_issue: false,
            comments_update_issues: true,
            retry_seconds: vec![0.5, 1.0, 1.0, 2.0, 3.0],
            token_seconds: 3_600,
            worklog_delay_seconds: 0,
            reuse_seconds: 600,
        }
    }
}
