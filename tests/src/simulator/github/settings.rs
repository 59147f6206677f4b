//! What a test may change about the app and the service while they run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings in force; the control API shows and replaces them field by field.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Where deliveries go; none are generated while this is empty.
    pub webhook_url: String,
    /// Secret that deliveries are signed with.
    pub webhook_secret: String,
    /// Registered callback URLs; the first is used when none is asked for.
    pub callback_urls: Vec<String>,
    /// Where a browser goes after an installation.
    pub setup_url: String,
    /// "Request user authorization (OAuth) during installation".
    pub oauth_on_install: bool,
    /// Users decline at the consent page.
    pub deny_authorizations: bool,
    /// Installation tokens in the long stateless form.
    pub long_tokens: bool,
    /// Life of an installation token.
    pub installation_token_seconds: i64,
    /// Life of a user token.
    pub user_token_seconds: i64,
    /// Deliveries as `application/x-www-form-urlencoded` instead of JSON.
    pub form_webhooks: bool,
    /// One delivery at a time and in order within an account.
    pub ordered: bool,
    /// Deliveries in flight at most.
    pub delivery_concurrency: usize,
    /// Requests per hour of an installation or user.
    pub rate_limit: u32,
    /// Searches per minute of an installation or user.
    pub search_limit: u32,
    /// Changes younger than this are not found by searches.
    pub search_lag_seconds: i64,
    /// Searches time out: results are incomplete.
    pub searches_time_out: bool,
    /// Points per minute of the secondary limit; without limit when absent.
    pub points_per_minute: Option<u32>,
    /// Requests at once of the secondary limit; without limit when absent.
    pub max_concurrent: Option<usize>,
    /// What new installations grant.
    pub permissions: BTreeMap<String, String>,
}
