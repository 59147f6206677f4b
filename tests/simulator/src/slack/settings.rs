//! Options, and settings of the app and the service that tests may change.

use clap::Args;
use serde::{Deserialize, Serialize};

/// Options at the start.
#[derive(Debug, Clone, Args)]
pub struct SlackOptions {
    /// Slack channels in each account.
    #[arg(long, default_value_t = SlackOptions::default().channels)]
    pub channels: usize,
    /// How many of a channel's past facts are replies; by default, about a third.
    #[arg(long)]
    pub replies: Option<usize>,
}

impl Default for SlackOptions {
    fn default() -> Self {
        Self {
            channels: 3,
            replies: None,
        }
    }
}

/// Current settings; the control API shows and changes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Settings {
    /// URL of the events; empty sends none.
    pub webhook_url: String,
    /// Secret of the events' signatures.
    pub signing_secret: String,
    /// Redirect URI of the app.
    pub callback_url: String,
    /// Access tokens expire after twelve hours and rotate.
    pub rotation: bool,
    /// PKCE is on in the app's settings.
    pub pkce: bool,
    /// An organization's admin adds the app to each workspace after the consent.
    pub workspaces_by_hand: bool,
    /// `conversations.replies` rejects bot tokens.
    pub replies_need_user: bool,
    /// The consent page declines.
    pub deny_authorizations: bool,
    /// `conversations.history` and `.replies` allow one call per minute with fifteen messages.
    pub limited: bool,
    /// Rate limits of the methods' tiers are enforced.
    pub tiers: bool,
    /// Lifetime of a cursor.
    pub cursor_seconds: i64,
    /// Every third page of a list is empty, with a cursor.
    pub empty_pages: bool,
    /// Delays before the retries of an event, in seconds; Slack's are 0, 60 and 300.
    pub retry_seconds: Vec<f64>,
    /// Sends `app_uninstalled` before `tokens_revoked`.
    pub uninstalled_first: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            webhook_url: String::new(),
            signing_secret: String::new(),
            callback_url: String::new(),
            rotation: false,
            pkce: false,
            workspaces_by_hand: false,
            replies_need_user: false,
            deny_authorizations: false,
            limited: false,
            tiers: true,
            cursor_seconds: 3_600,
            empty_pages: false,
            retry_seconds: vec![0.0, 1.0, 3.0],
            uninstalled_first: false,
        }
    }
}
