//! The registry of providers, one line each, and their connectors.

mod github;
mod gmail;
mod google;
mod google_calendar;
mod google_drive;
mod jira;
mod slack;
mod zoho_cliq;
mod zoho_mail;

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use shared::clock::ManualClock;
use shared::config::{Env, Reader};
use shared::connectors::{Connector, ConnectorDeps, ConnectorSettings, Registry};
use shared::http::{Charge, LimitObservation, Permit, RateLimited, RateLimiter};

use crate::message::Message;
use crate::provider::now;

/// All providers.
const PROVIDERS: &[Provider] = &[
    github::PROVIDER,
    slack::PROVIDER,
    jira::PROVIDER,
    google_drive::PROVIDER,
    google_calendar::PROVIDER,
    gmail::PROVIDER,
    zoho_cliq::PROVIDER,
    zoho_mail::PROVIDER,
];

/// A provider, as the targets use it.
pub struct Provider {
    /// Slug in the registry of connectors.
    pub slug: &'static str,
    /// Settings with a base URL, by name without the common prefix.
    settings: fn(&str) -> Vec<(&'static str, String)>,
    /// Signs a message with one of the secrets.
    pub(crate) sign: fn(&Message<'_>, &mut HeaderMap, usize),
    /// Verifies and normalizes a delivery, and checks the invariants.
    pub check_delivery: fn(&dyn Connector, &[u8]),
}

/// Selects the provider that the environment names.
///
/// # Panics
///
/// If `POBLYSH_FUZZ_PROVIDER` names none.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment selects the provider of a run"
)]
pub fn selected() -> &'static Provider {
    let slug = std::env::var("POBLYSH_FUZZ_PROVIDER").unwrap_or_default();
    find(&slug).unwrap_or_else(|| panic!("POBLYSH_FUZZ_PROVIDER names no provider: {slug:?}"))
}

/// Finds a provider by its slug.
pub fn find(slug: &str) -> Option<&'static Provider> {
    let mut providers = PROVIDERS.iter();
    providers.find(|provider| provider.slug == slug)
}

struct NoopLimiter;

#[async_trait]
impl RateLimiter for NoopLimiter {
    async fn admit(&self, _: &'static str, _: &Charge<'_>) -> Result<Permit, RateLimited> {
        Ok(Permit::default())
    }

    async fn observe(&self, _: &'static str, _: &Charge<'_>, _: LimitObservation) {}
}

/// Settings of every provider, with `base` as their base URL.
pub fn settings(base: &str) -> Vec<(String, String)> {
    let pairs = PROVIDERS
        .iter()
        .flat_map(|provider| (provider.settings)(base));
    let named = |(name, value)| (format!("POBLYSH_{name}"), value);
    pairs.map(named).collect()
}

/// Builds a provider's connector with a constant clock.
pub fn connector(slug: &str, base: &str) -> Arc<dyn Connector> {
    let env = Env::from_pairs(settings(base));
    let mut reader = Reader::new(&env);
    let settings = ConnectorSettings::from_reader(&mut reader);
    reader.finish().expect("settings that can be used");
    let deps = ConnectorDeps {
        clock: Arc::new(ManualClock::new(now())),
        rate_limiter: Arc::new(NoopLimiter),
    };
    let registry = Registry::new(settings, &deps).expect("a registry");
    registry.get(slug).expect("the provider is configured")
}
