//! Settings of the Jira connector.
//!
//! Jira is configured when the app's client id and client secret are set. The client secret also
//! signs the subscribed webhooks. Webhooks that a site's administrator sets up are signed with
//! the connection's webhook secret.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::descriptor;
use crate::connectors::oauth::OAuthClient;
use crate::connectors::settings::{App, AppReader, ProviderSettings};
use crate::connectors::{ProviderDescriptor, RateBudget, RateLimits, RateQuota, RateUnit};
use crate::model::LimitScope;

const CLIENT_SECRET: &str = "JIRA_CLIENT_SECRET";

/// Points per hour of the app and of a site, until a response states the quota.
const APP_POINTS: u32 = 65_000;
const SITE_POINTS: u32 = 100_000;

/// Settings of the Jira connector.
pub type JiraSettings = ProviderSettings<AppSettings>;

/// Settings of an Atlassian app.
#[derive(Debug)]
pub struct AppSettings {
    /// The OAuth client.
    pub client: OAuthClient,
    /// The base URL of the consent page, by default <https://auth.atlassian.com>.
    pub auth_base: Url,
    /// The base URL of the REST API, by default <https://api.atlassian.com>.
    pub api_base: Url,
    /// Limits of rate and concurrency.
    pub limits: RateLimits,
}

impl App for AppSettings {
    const NAME: &'static str = "Atlassian app";

    fn limits(reader: &mut AppReader<'_, '_>) -> RateLimits {
        limits(reader)
    }

    fn read(reader: &mut AppReader<'_, '_>, limits: RateLimits) -> Option<Self> {
        Some(Self {
            client: reader.oauth_client("JIRA_CLIENT_ID", CLIENT_SECRET),
            auth_base: reader.base_url("JIRA_AUTH_BASE_URL", "https://auth.atlassian.com"),
            api_base: reader.base_url("JIRA_API_BASE_URL", "https://api.atlassian.com"),
            limits,
        })
    }

    fn descriptor(limits: RateLimits) -> ProviderDescriptor {
        descriptor(limits)
    }
}

/// Reads the secrets of webhooks at the app's URL.
pub(super) fn webhook_secrets(reader: &mut AppReader<'_, '_>) -> Vec<SecretString> {
    reader.required_secrets(CLIENT_SECRET)
}

/// Reads the rate limits.
///
/// A call costs one point, and one for each returned object. All sites share the app's points per
/// hour, and each site has a separate quota; responses state both. Per endpoint, Jira allows 100
/// requests per second to all apps of a site together ("Rate limiting" at
/// developer.atlassian.com).
fn limits(reader: &mut AppReader<'_, '_>) -> RateLimits {
    let app = reader.within("JIRA_POINTS_PER_SECOND", 1000.0, 0.1, 1_000_000.0);
    let site = reader.within("JIRA_SITE_POINTS_PER_SECOND", 500.0, 0.1, 1_000_000.0);
    let calls = reader.within("JIRA_REQUESTS_PER_SECOND", 10.0, 0.01, 1_000_000.0);
    // A page of 100 issues costs 101 points.
    let burst = reader.within("JIRA_BURST", 300, 1, 1_000_000);
    let points = |scope, per_second, units| RateBudget {
        scope,
        unit: RateUnit::Points,
        quota: Some(RateQuota {
            units,
            window: Duration::from_hours(1),
            reserve: 0.05,
            poll_share: None,
        }),
        ..RateBudget::per_account(per_second, burst)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::read_settings;

    const CLIENT_ID: &str = "JIRA_CLIENT_ID";
    const API_BASE_URL: &str = "JIRA_API_BASE_URL";

    fn read(pairs: &[(&str, &str)]) -> Result<JiraSettings, String> {
        read_settings(pairs)
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
