//! Options, and settings of the lists and deliveries that tests may change.

use std::collections::BTreeMap;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::api::LIMITS;

/// Options at the start.
#[derive(Debug, Clone, Args)]
pub struct ZohoCliqOptions {
    /// Channels of each organization at Zoho Cliq.
    #[arg(long, default_value_t = ZohoCliqOptions::default().cliq_channels)]
    pub cliq_channels: usize,
}

impl Default for ZohoCliqOptions {
    fn default() -> Self {
        Self { cliq_channels: 2 }
    }
}

/// Calls per minute of a person to an endpoint, and the lock that follows one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// Calls per minute.
    pub per_minute: usize,
    /// Time in which all calls are refused.
    pub lock_seconds: i64,
}

/// Current settings; the control API shows and changes them.
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Maximum number of rows on a page of a list with a token.
    pub max_page_size: usize,
    /// Maximum number of changed channels that a sync token returns.
    pub max_synced_channels: usize,
    /// Limits of each endpoint; endpoints that are not in it have none.
    pub throttles: BTreeMap<String, Throttle>,
    /// The content of a message is its text, as the description says, instead of an object.
    pub content_as_text: bool,
    /// A window with more messages than a page returns the newest ones, not the oldest.
    pub newest_of_window: bool,
    /// A message in a thread counts as activity of its channel.
    pub replies_touch_channel: bool,
    /// `time` of a delivered edit is that of the edit, not that of the message.
    pub edits_state_own_time: bool,
    /// Ids of people in deliveries differ from those in lists.
    pub delivers_other_user_ids: bool,
    /// A Deluge script sends the text of a message to the bot without its time.
    pub deluge_plain_messages: bool,
    /// A Deluge script sends its fields as a form, as `parameters:` does.
    pub deluge_form: bool,
    /// Delays before the retries of a delivery, in seconds; none by default.
    pub retry_seconds: Vec<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        let throttles = LIMITS.iter().map(|(endpoint, per_minute, lock_seconds)| {
            let throttle = Throttle {
                per_minute: *per_minute,
                lock_seconds: *lock_seconds,
            };
            ((*endpoint).to_owned(), throttle)
        });
        Self {
            max_page_size: 100,
            max_synced_channels: 50,
            throttles: throttles.collect(),
            content_as_text: false,
            newest_of_window: false,
            replies_touch_channel: false,
            edits_state_own_time: false,
            delivers_other_user_ids: false,
            deluge_plain_messages: false,
            deluge_form: false,
            retry_seconds: Vec::new(),
        }
    }
}
