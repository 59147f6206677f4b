//! Options, and settings of the mailboxes and their notifications that tests may change.

use clap::Args;
use serde::{Deserialize, Serialize};

/// Options at the start.
#[derive(Debug, Clone, Default, Args)]
pub struct GmailOptions {
    /// Older messages in each mailbox, from before the history: no facts for the ledger.
    #[arg(long, default_value_t = 0)]
    pub old_mails: usize,
}

/// Current settings; the control API shows and changes them.
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Project of the OAuth client, whose topics its users may watch with.
    pub project: String,
    /// Existing topic, without its project.
    pub topic: String,
    /// Gmail's service account may publish to the topic.
    pub may_publish: bool,
    /// URL of the topic's push subscription; empty sends none.
    pub webhook_url: String,
    /// Audience of the pushes' tokens; by default, the URL.
    pub push_audience: Option<String>,
    /// Service account that the pushes' tokens name.
    pub push_account: String,
    /// Minimum time between two notifications of a mailbox; Gmail drops those in between.
    pub notification_milliseconds: i64,
    /// A watch sends a notification of the current state immediately.
    pub notifies_on_watch: bool,
    /// The data of pushes is in the URL-safe alphabet.
    pub url_safe_data: bool,
    /// The data of pushes is not padded.
    pub unpadded_data: bool,
    /// The history id in pushes is a string instead of a number.
    pub history_id_as_string: bool,
    /// Delays before the retries of a push, in seconds.
    pub retry_seconds: Vec<f64>,
    /// Time after which records of the history are dropped.
    pub history_seconds: i64,
    /// Maximum number of rows on a page, below that of Gmail.
    pub max_page_size: usize,
    /// An empty page with a token comes before each page of the history.
    pub empty_history_pages: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            project: "poblysh-sim".to_owned(),
            topic: "gmail".to_owned(),
            may_publish: true,
            webhook_url: String::new(),
            push_audience: None,
            push_account: "push@poblysh-sim.iam.gserviceaccount.com".to_owned(),
            notification_milliseconds: 1_000,
            notifies_on_watch: false,
            url_safe_data: false,
            unpadded_data: false,
            history_id_as_string: false,
            retry_seconds: vec![0.5, 1.0, 2.0, 4.0],
            history_seconds: 7 * 24 * 3_600,
            max_page_size: 500,
            empty_history_pages: false,
        }
    }
}

impl Settings {
    /// Name of the topic with its project.
    pub(crate) fn topic_name(&self) -> String {
        format!("projects/{}/topics/{}", self.project, self.topic)
    }

    /// Name of the topic's push subscription.
    pub(crate) fn subscription_name(&self) -> String {
        format!(
            "projects/{}/subscriptions/{}-push",
            self.project, self.topic
        )
    }

    /// Audience of the pushes' tokens.
    pub(crate) fn audience(&self) -> &str {
        self.push_audience.as_deref().unwrap_or(&self.webhook_url)
    }
}
