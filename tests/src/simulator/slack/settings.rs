//! What a test may change about the app and the service while they run.

use serde::{Deserialize, Serialize};

/// Settings in force; the control API shows and replaces them field by field.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Where events go; none are sent while this is empty.
    pub webhook_url: String,
    /// Secret that events are signed with.
    pub signing_secret: String,
    /// Where browsers are sent back to.
    pub callback_url: String,
    /// Tokens expire after twelve hours and rotate.
    pub rotation: bool,
    /// The app has turned PKCE on.
    pub pkce: bool,
    /// After an organization has consented, its admin adds the app to each workspace.
    pub workspaces_by_hand: bool,
    /// `conversations.replies` refuses bots' tokens.
    pub replies_need_user: bool,
    /// Persons decline at the consent page.
    pub deny_authorizations: bool,
    /// `conversations.history` and `.replies`: one call a minute, fifteen messages.
    pub limited: bool,
    /// The tiers of the methods are kept.
    pub tiers: bool,
    /// Seconds after which a cursor is no longer honoured.
    pub cursor_seconds: i64,
    /// Every third page of a list is empty and has a cursor.
    pub empty_pages: bool,
    /// Pauses before the retries of an event, in seconds; Slack's are 0, 60 and 300.
    pub retry_seconds: Vec<f64>,
    /// `app_uninstalled` before `tokens_revoked`.
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
