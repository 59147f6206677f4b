//! Settings of the Jira connector.
//!
//! Jira is configured when the app's client id and client secret are set. The client secret also
//! signs the subscribed webhooks. Webhooks that a site's administrator sets up are signed with
//! the connection's webhook secret.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::descriptor;
use crate::config::Reader;
use crate::connectors::settings::is_app_configured;
use crate::connectors::{ProviderDescriptor, RateBudget, RateLimits, RateQuota, RateUnit};
use crate::model::LimitScope;

const CLIENT_ID: &str = "JIRA_CLIENT_ID";
pub(super) const CLIENT_SECRET: &str = "JIRA_CLIENT_SECRET";
const AUTH_BASE_URL: &str = "JIRA_AUTH_BASE_URL";
const API_BASE_URL: &str = "JIRA_API_BASE_URL";
const POINTS_PER_SECOND: &str = "JIRA_POINTS_PER_SECOND";
const SITE_POINTS_PER_SECOND: &str = "JIRA_SITE_POINTS_PER_SECOND";
const REQUESTS_PER_SECOND: &str = "JIRA_REQUESTS_PER_SECOND";
const BURST: &str = "JIRA_BURST";

/// Points per hour of the app and of a site, until a response states the quota.
const APP_POINTS: u32 = 65_000;
const SITE_POINTS: u32 = 100_000;

/// Settings that every app requires.
const REQUIRED: [&str; 2] = [CLIENT_ID, CLIENT_SECRET];

/// Settings of the Jira connector.
#[derive(Debug)]
pub struct JiraSettings {
    /// Limits of rate and concurrency.
    pub limits: RateLimits,
    /// The app; `None` if Jira is not configured.
    pub app: Option<AppSettings>,
}

/// Settings of an Atlassian app.
pub struct AppSettings {
    /// The OAuth client's id.
    pub client_id: String,
    /// The OAuth client's secrets: one, or two during rotation.
    pub client_secrets: Vec<SecretString>,
    /// The base URL of the consent page, by default <https://auth.atlassian.com>.
    pub auth_base: Url,
    /// The base URL of the REST API, by default <https://api.atlassian.com>.
    pub api_base: Url,
    /// Limits of rate and concurrency.
    pub limits: RateLimits,
}

impl std::fmt::Debug for AppSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppSettings")
            .field("client_id", &self.client_id)
            .field("auth_base", &self.auth_base.as_str())
            .field("api_base", &self.api_base.as_str())
            .finish_non_exhaustive()
    }
}

impl JiraSettings {
    /// Reads the settings and records problems in the reader.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let limits = limits(reader);
        let app = AppSettings::from_reader(reader, &limits);
        Self { limits, app }
    }

    /// Jira's descriptor with these rate limits.
    pub fn descriptor(&self) -> ProviderDescriptor {
        descriptor(self.limits.clone())
    }
}

/// Reads the rate limits.
///
/// A call costs one point, and one for each returned object. All sites share the app's points per
/// hour, and each site has a separate quota; responses state both. Per endpoint, Jira allows 100
/// requests per second to all apps of a site together ("Rate limiting" at
/// developer.atlassian.com).
pub(super) fn limits(reader: &mut Reader<'_>) -> RateLimits {
    let app = reader.within(POINTS_PER_SECOND, 1000.0, 0.1, 1_000_000.0);
    let site = reader.within(SITE_POINTS_PER_SECOND, 500.0, 0.1, 1_000_000.0);
    let calls = reader.within(REQUESTS_PER_SECOND, 10.0, 0.01, 1_000_000.0);
    // A page of 100 issues costs 101 points.
    let burst = reader.within(BURST, 300, 1, 1_000_000);
    let points = |scope, per_second, units| RateBudget {
        scope,
        operations: &[],
        unit: RateUnit::Points,
        per_second,
        burst,
        quota: Some(RateQuota {
            units,
            window: Duration::from_hours(1),
            reserve: 0.05,
            poll_share: None,
        }),
    };
    RateLimits {
        budgets: vec![
            points(LimitScope::Provider, app, APP_POINTS),
            points(LimitScope::Account, site, SITE_POINTS),
            RateBudget {
                scope: LimitScope::Operation,
                unit: RateUnit::Calls,
                ..RateBudget::per_account(calls, burst.min(20))
            },
        ],
        account_concurrency: 4,
        process_concurrency: 50,
    }
}

impl AppSettings {
    fn from_reader(reader: &mut Reader<'_>, limits: &RateLimits) -> Option<Self> {
        let auth_base = reader.url(AUTH_BASE_URL, "https://auth.atlassian.com");
        let api_base = reader.url(API_BASE_URL, "https://api.atlassian.com");
        if !is_app_configured(reader, "Atlassian app", &REQUIRED, &[]) {
            return None;
        }
        let client_secrets = reader.one_or_two_secrets(CLIENT_SECRET);
        Some(Self {
            client_id: reader.optional_string(CLIENT_ID)?,
            client_secrets,
            auth_base,
            api_base,
            limits: limits.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    fn read(pairs: &[(&str, &str)]) -> Result<JiraSettings, String> {
        let env = Env::from_pairs(
            pairs
                .iter()
                .map(|(name, value)| (format!("POBLYSH_{name}"), (*value).to_owned())),
        );
        let mut reader = Reader::new(&env);
        let settings = JiraSettings::from_reader(&mut reader);
        reader
            .finish()
            .map(|()| settings)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn jira_is_unconfigured_without_settings() {
        assert!(read(&[]).expect("valid").app.is_none());
        let bases = read(&[(API_BASE_URL, "http://localhost:1")]);
        assert!(bases.expect("valid").app.is_none());
    }

    #[test]
    fn incomplete_settings_name_the_missing_one() {
        for (set, missing) in [(CLIENT_ID, CLIENT_SECRET), (CLIENT_SECRET, CLIENT_ID)] {
            let error = read(&[(set, "s3cret")]).expect_err("an incomplete app");
            assert!(
                error.contains(&format!("POBLYSH_{missing} is not set")),
                "{error}"
            );
            assert!(!error.contains("s3cret"));
        }
    }

    #[test]
    fn debug_output_hides_secrets() {
        let settings = read(&[
            (CLIENT_ID, "the-client"),
            (CLIENT_SECRET, "s3cret-of-the-client"),
        ]);
        let shown = format!("{:?}", settings.expect("valid"));
        assert!(
            shown.contains("the-client") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
