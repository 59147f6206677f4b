//! Settings from pairs of names and values, and connectors with them.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::noop_limiter::{NoopLimiter, deps};
use crate::config::{Env, Reader};
use crate::connectors::ConnectorDeps;
use crate::connectors::settings::{App, ProviderSettings};
use crate::http::HttpError;

/// Settings of a provider in tests; names are without the prefix of all variables.
pub(in crate::connectors) type Settings = Vec<(&'static str, String)>;

/// Reads settings into an environment.
pub(in crate::connectors) fn env<V: ToString>(pairs: &[(&str, V)]) -> Env {
    Env::from_pairs(
        pairs
            .iter()
            .map(|(name, value)| (format!("POBLYSH_{name}"), value.to_string())),
    )
}

/// Reads a provider's settings; names are without the prefix of all variables.
pub(in crate::connectors) fn read_settings<A: App, V: ToString>(
    pairs: &[(&str, V)],
) -> Result<ProviderSettings<A>, String> {
    let env = env(pairs);
    let mut reader = Reader::new(&env);
    let settings = ProviderSettings::from_reader(&mut reader);
    reader
        .finish()
        .map(|()| settings)
        .map_err(|error| error.to_string())
}

/// Builds a provider's connector with these settings and a clock that shows `now`.
pub(in crate::connectors) fn build<A: App, C>(
    pairs: &[(&str, String)],
    now: DateTime<Utc>,
    new: fn(A, &ConnectorDeps) -> Result<C, HttpError>,
) -> (C, Arc<NoopLimiter>) {
    let settings = read_settings(pairs).expect("settings that can be used");
    let (deps, rate_limiter) = deps(now);
    let app = settings.app.expect("the provider is configured");
    (new(app, &deps).expect("a connector"), rate_limiter)
}
