//! Options, and settings of the service that tests may change.

use clap::Args;
use serde::{Deserialize, Serialize};

/// Options at the start.
#[derive(Debug, Clone, Args)]
pub struct GoogleCalendarOptions {
    /// Calendars of each person, besides the primary one.
    #[arg(long, default_value_t = GoogleCalendarOptions::default().calendars)]
    pub calendars: usize,
}

impl Default for GoogleCalendarOptions {
    fn default() -> Self {
        Self { calendars: 1 }
    }
}

/// Current settings; the control API shows and changes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Maximum number of rows on a page.
    pub max_page_size: usize,
    /// The last page of a list has no rows.
    pub empty_last_page: bool,
    /// A sync token expires when it comes with other parameters than those of its list.
    pub changed_parameters_expire: bool,
    /// Age of `updatedMin` in days beyond which a request fails; `None` accepts any.
    pub max_updated_min_days: Option<i64>,
    /// Days after which cancelled events vanish; `None` keeps them.
    pub tombstone_days: Option<i64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_page_size: 2_500,
            empty_last_page: false,
            changed_parameters_expire: false,
            max_updated_min_days: None,
            tombstone_days: None,
        }
    }
}
