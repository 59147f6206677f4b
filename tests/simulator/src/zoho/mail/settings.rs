//! Options, and settings of the API and the outgoing webhooks that tests may change.

use clap::Args;
use serde::{Deserialize, Serialize};

/// Options at the start.
#[derive(Debug, Clone, Default, Args)]
pub struct ZohoMailOptions {
    /// Older messages in each Zoho mailbox, from before the history: no facts for the ledger.
    #[arg(long, default_value_t = 0)]
    pub old_zoho_mails: usize,
}

/// Current settings; the control API shows and changes them.
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Calls of a person in a minute; the one beyond locks the API. `None` is unlimited.
    pub calls_per_minute: Option<usize>,
    /// Length of a lock.
    pub lock_seconds: i64,
    /// Status of a response within a lock.
    pub limit_status: u16,
    /// Errors have status 200, and their code only in the body.
    pub errors_with_ok_status: bool,
    /// Maximum number of rows on a page, below that of Zoho Mail.
    pub max_page_size: usize,
    /// The first request of a webhook is signed with the secret that it brings.
    pub handshake_signed: bool,
    /// The first request of a webhook has the body of a sample mail instead of none.
    pub handshake_sample: bool,
    /// Deliveries have no `messageIdString`, as on Zoho's page.
    pub omit_message_id_string: bool,
    /// Delays before the retries of a delivery, in seconds; none by default.
    pub retry_seconds: Vec<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            calls_per_minute: Some(30),
            lock_seconds: 15 * 60,
            limit_status: 429,
            errors_with_ok_status: false,
            max_page_size: 200,
            handshake_signed: false,
            handshake_sample: false,
            omit_message_id_string: false,
            retry_seconds: Vec::new(),
        }
    }
}
