//! Options, and settings of the app and the service that tests may change.

use clap::Args;
use serde::{Deserialize, Serialize};

/// Options at the start.
#[derive(Debug, Clone, Args)]
pub struct JiraOptions {
    /// Jira projects in each account.
    #[arg(long, default_value_t = JiraOptions::default().projects)]
    pub projects: usize,
    /// How many of a project's past facts are new issues; by default, about a fifth.
    #[arg(long)]
    pub issues: Option<usize>,
}

impl Default for JiraOptions {
    fn default() -> Self {
        Self {
            projects: 2,
            issues: None,
        }
    }
}

/// Current settings; the control API shows and changes them.
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Redirect URI of the app.
    pub callback_url: String,
    /// URL of the app's webhooks; empty sends none.
    ///
    /// Deliveries go to the URL of their registration.
    pub webhook_url: String,
    /// Webhooks of sites' administrators, for all events.
    pub admin_webhooks: Vec<AdminWebhook>,
    /// The consent page declines.
    pub deny_authorizations: bool,
    /// Scopes that a consent does not grant even if requested.
    pub withheld_scopes: Vec<String>,
    /// Searches do not find changes younger than this.
    pub index_lag_seconds: i64,
    /// Points per hour of the app; `None` is unlimited.
    pub points_per_hour: Option<u64>,
    /// Points per hour of each site; `None` is unlimited.
    pub site_points_per_hour: Option<u64>,
    /// Requests per second of a site and endpoint; `None` is unlimited.
    ///
    /// PUT and DELETE have half of it.
    pub requests_per_second: Option<u64>,
    /// Points are counted and announced in headers, but not enforced.
    pub limits_announced: bool,
    /// Events that the registration of webhooks rejects.
    pub refused_events: Vec<String>,
    /// Deliveries of new comments lack the issue.
    pub comments_without_issue: bool,
    /// Comments also send an update of their issue.
    pub comments_update_issues: bool,
    /// Delays before the retries of a delivery, in seconds.
    pub retry_seconds: Vec<f64>,
    /// Lifetime of an access token.
    pub token_seconds: i64,
    /// Lists of changed worklogs lack those younger than this; one minute in Jira.
    pub worklog_delay_seconds: i64,
    /// Time during which a used refresh token is accepted again.
    pub reuse_seconds: i64,
}

/// A webhook that a site's administrator created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminWebhook {
    /// Cloud id of the site.
    pub account: String,
    /// URL of its deliveries.
    pub url: String,
    /// Secret of the signatures.
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
