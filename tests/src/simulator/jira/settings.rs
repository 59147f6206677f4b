//! What a test may change about the app and the service while they run.

use serde::{Deserialize, Serialize};

/// Settings in force; the control API shows and replaces them field by field.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Where browsers are sent back to.
    pub callback_url: String,
    /// Where an administrator's webhooks go; the others go where they were registered. Empty:
    /// none are sent at all.
    pub webhook_url: String,
    /// Secret that an administrator's webhooks are signed with.
    pub webhook_secret: String,
    /// An administrator has set up a webhook at every site, for every event.
    pub admin_webhooks: bool,
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
    /// Requests per second of a site and endpoint; without limit when absent.
    pub requests_per_second: Option<u64>,
    /// Points are counted and told, but nothing is refused yet.
    pub limits_announced: bool,
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

impl Default for Settings {
    fn default() -> Self {
        Self {
            callback_url: String::new(),
            webhook_url: String::new(),
            webhook_secret: String::new(),
            admin_webhooks: false,
            deny_authorizations: false,
            withheld_scopes: Vec::new(),
            index_lag_seconds: 0,
            points_per_hour: None,
            site_points_per_hour: None,
            requests_per_second: None,
            limits_announced: false,
            comments_update_issues: true,
            retry_seconds: vec![0.5, 1.0, 1.0, 2.0, 3.0],
            token_seconds: 3_600,
            worklog_delay_seconds: 0,
            reuse_seconds: 600,
        }
    }
}
