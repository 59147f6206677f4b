//! Settings of the Zoho Cliq connector, beside those that Zoho's products share.

use super::client::{LIST_MESSAGES, OTHERS};
use super::descriptor;
use crate::connectors::settings::{App, AppReader, ProviderSettings};
use crate::connectors::zoho::{ZohoApp, per_minute};
use crate::connectors::{ProviderDescriptor, RateLimits};
use crate::model::LimitScope;

/// Cliq's limits of calls per minute of an endpoint, by one person.
///
/// Its pages state different numbers for messages, 10 and 15, and 20 or more for the others; who
/// makes more calls is locked out for minutes.
const MESSAGE_READS: u32 = 10;
const OTHER_CALLS: u32 = 20;

/// Settings of the Zoho Cliq connector.
pub type ZohoCliqSettings = ProviderSettings<AppSettings>;

/// Settings of a Zoho app that reads Cliq.
#[derive(Debug)]
pub struct AppSettings {
    /// The OAuth client and Zoho's data centers.
    pub zoho: ZohoApp,
    /// Limits of rate and concurrency.
    pub limits: RateLimits,
}

impl App for AppSettings {
    const NAME: &'static str = "Zoho app";

    fn limits(reader: &mut AppReader<'_, '_>) -> RateLimits {
        let scope = LimitScope::Operation;
        let (reads, others) = (
            "ZOHO_CLIQ_MESSAGES_PER_MINUTE",
            "ZOHO_CLIQ_REQUESTS_PER_MINUTE",
        );
        RateLimits {
            budgets: vec![
                per_minute(reader, reads, MESSAGE_READS, scope, &[LIST_MESSAGES]),
                per_minute(reader, others, OTHER_CALLS, scope, OTHERS),
            ],
            account_concurrency: 4,
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
