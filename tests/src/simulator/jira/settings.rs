//! What a test may change about the app and the service while they run.

use serde::{Deserialize, Serialize};

/// Settings in force; the control API shows and replaces them field by field.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// The one URL that webhooks may be registered for; empty: none are sent.
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
    /// Points per hour of the whole app; none are counted when absent.
    pub points_per_hour: Option<u64>,
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
            webhook_url: String::new(),
            webhook_secret: String::new(),
            admin_webhooks: false,
            deny_authorizations: false,
            withheld_scopes: Vec::new(),
            index_lag_seconds: 0,
            points_per_hour: None,
            comments_update_issues: true,
            retry_seconds: vec![0.5, 1.0, 1.0, 2.0, 3.0],
            token_seconds: 3_600,
            worklog_delay_seconds: 0,
            reuse_seconds: 600,
        }
    }
}
