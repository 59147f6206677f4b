//! Options, and settings of Drive that tests may change.

use clap::Args;
use serde::{Deserialize, Serialize};

/// Options at the start.
#[derive(Debug, Clone, Args)]
pub struct GoogleDriveOptions {
    /// Shared drives in each account.
    #[arg(long, default_value_t = GoogleDriveOptions::default().shared_drives)]
    pub shared_drives: usize,
    /// How many of a drive's past facts are new files; by default, about a third.
    #[arg(long)]
    pub new_files: Option<usize>,
}

impl Default for GoogleDriveOptions {
    fn default() -> Self {
        Self {
            shared_drives: 1,
            new_files: None,
        }
    }
}

/// Current settings; the control API shows and changes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Maximum number of rows on a page.
    pub max_page_size: usize,
    /// Users in responses have no address.
    pub withhold_addresses: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_page_size: 1_000,
            withhold_addresses: false,
        }
    }
}
