//! Settings of the Zoho Mail connector, beside those that Zoho's products share.
//!
//! Zoho Mail is configured with the OAuth client of the family. The secret of a webhook belongs to
//! its connection, so there is none here.

use super::descriptor;
use crate::connectors::settings::{App, AppReader, ProviderSettings};
use crate::connectors::zoho::{ZohoApp, per_minute};
use crate::connectors::{ProviderDescriptor, RateLimits};
use crate::model::LimitScope;

/// Zoho's limit of calls per minute of a person, by other people's notes.
///
/// One more, and it rejects every call for a time that it does not state.
const CALLS_PER_MINUTE: u32 = 30;

/// Settings of the Zoho Mail connector.
pub type ZohoMailSettings = ProviderSettings<AppSettings>;

/// Settings of a Zoho client that reads mailboxes.
#[derive(Debug)]
pub struct AppSettings {
    /// The settings that Zoho's products share.
    pub zoho: ZohoApp,
    /// Limits of rate and concurrency.
    pub limits: RateLimits,
}

impl App for AppSettings {
    const NAME: &'static str = "Zoho client";

    fn limits(reader: &mut AppReader<'_, '_>) -> RateLimits {
        RateLimits {
            budgets: vec![per_minute(
                reader,
                "ZOHO_MAIL_CALLS_PER_MINUTE",
                CALLS_PER_MINUTE,
                LimitScope::Account,
                super::client::OPERATIONS,
            )],
            // A call beside the one that begins a lock would be a call within it.
            account_concurrency: 1,
            process_concurrency: 50,
        }
    }

    fn read(reader: &mut AppReader<'_, '_>, limits: RateLimits) -> Option<Self> {
        Some(Self {
            zoho: ZohoApp::read(reader),
            limits,
        })
    }

    fn descriptor(limits: RateLimits) -> ProviderDescriptor {
        descriptor(limits)
    }
}
