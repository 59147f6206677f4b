//! Options, and settings of GitHub and its app that tests can change at runtime.

use std::collections::BTreeMap;

use clap::Args;
use serde::{Deserialize, Serialize};

/// Options at the start.
#[derive(Debug, Clone, Args)]
pub struct GitHubOptions {
    /// GitHub repositories in each account.
    #[arg(long, default_value_t = GitHubOptions::default().repositories)]
    pub repositories: usize,
    /// Request user authorization during installation.
    #[arg(long)]
    pub oauth_on_install: bool,
    /// Requests per hour that a GitHub installation or user may send.
    #[arg(long, default_value_t = GitHubOptions::default().rate_limit)]
    pub rate_limit: u32,
}

impl Default for GitHubOptions {
    fn default() -> Self {
        Self {
            repositories: 2,
            oauth_on_install: false,
            rate_limit: 5_000,
        }
    }
}

/// Settings, which the control API returns and replaces field by field.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is independent")]
pub struct Settings {
    /// URL of deliveries; none are generated while it is empty.
    pub webhook_url: String,
    /// Secret that signs deliveries.
    pub webhook_secret: String,
    /// Registered callback URLs; the first one is the default.
    pub callback_urls: Vec<String>,
    /// Redirect URL after an installation.
    pub setup_url: String,
    /// "Request user authorization (OAuth) during installation".
    pub oauth_on_install: bool,
    /// Users decline on the consent page.
    pub deny_authorizations: bool,
    /// Installation tokens have the long stateless format.
    pub long_tokens: bool,
    /// Lifetime of an installation token.
    pub installation_token_seconds: i64,
    /// Lifetime of a user token.
    pub user_token_seconds: i64,
    /// Deliveries have `application/x-www-form-urlencoded` bodies instead of JSON.
    pub form_webhooks: bool,
    /// Deliveries of an account are sent one after the other, in order.
    pub ordered: bool,
    /// Maximum number of deliveries in flight.
    pub delivery_concurrency: usize,
    /// Requests per hour of an installation or user.
    pub rate_limit: u32,
    /// Searches per minute of an installation or user.
    pub search_limit: u32,
    /// Age below which searches do not find a change.
    pub search_lag_seconds: i64,
    /// Searches time out and return incomplete results.
    pub searches_time_out: bool,
    /// Points per minute of the secondary limit; unlimited if absent.
    pub points_per_minute: Option<u32>,
    /// Concurrent requests of the secondary limit; unlimited if absent.
    pub max_concurrent: Option<usize>,
    /// Permissions of new installations.
    pub permissions: BTreeMap<String, String>,
    /// Events to which the app subscribes, in `GET /app`.
    pub events: Vec<String>,
}
