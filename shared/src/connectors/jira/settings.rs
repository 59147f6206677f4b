//! The operator's settings for Jira: what they are called, and when they make sense.
//!
//! Jira is configured when the app's client id and client secret are set. The client secret
//! also signs the webhooks that are subscribed to. Those that a site's administrator sets up by
//! hand are signed with a secret of the connection's own.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::descriptor;
use crate::config::Reader;
use crate::connectors::support::is_set_up;
use crate::connectors::{
    LimitScope, ProviderDescriptor, RateBudget, RateLimits, RateQuota, RateUnit,
};

const CLIENT_ID: &str = "JIRA_CLIENT_ID";
pub(super) const CLIENT_SECRET: &str = "JIRA_CLIENT_SECRET";
const AUTH_BASE_URL: &str = "JIRA_AUTH_BASE_URL";
const API_BASE_URL: &str = "JIRA_API_BASE_URL";
const POINTS_PER_SECOND: &str = "JIRA_POINTS_PER_SECOND";
const SITE_POINTS_PER_SECOND: &str = "JIRA_SITE_POINTS_PER_SECOND";
const REQUESTS_PER_SECOND: &str = "JIRA_REQUESTS_PER_SECOND";
const BURST: &str = "JIRA_BURST";

/// Points per hour of the app and of a site, until an answer states how many there are.
const APP_POINTS: u32 = 65_000;
const SITE_POINTS: u32 = 100_000;

/// Without these there is no app.
const NEEDED: [&str; 2] = [CLIENT_ID, CLIENT_SECRET];

/// What the operator set for Jira.
#[derive(Debug)]
pub struct JiraSettings {
    /// How often and how many at once Jira may be called.
    pub limits: RateLimits,
    /// The app; `None` when Jira is not configured.
    pub app: Option<AppSettings>,
}

/// An Atlassian app's settings.
pub struct AppSettings {
    /// The app's OAuth client.
    pub client_id: String,
    /// The OAuth client's secrets: one, or two while rotating.
    pub client_secrets: Vec<SecretString>,
    /// Where people consent: <https://auth.atlassian.com>.
    pub auth_base: Url,
    /// Where the REST API is: <https://api.atlassian.com>.
    pub api_base: Url,
    /// How often and how many at once Jira may be called.
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
    /// Reads the settings; what is wrong is noted in the reader.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let limits = limits(reader);
        let app = AppSettings::from_reader(reader, &limits);
        Self { limits, app }
    }

    /// What Jira is and can do, with these limits.
    pub fn descriptor(&self) -> ProviderDescriptor {
        descriptor(self.limits.clone())
    }
}

/// Jira charges points: one for a call and one for each object it gives. The hour's points are
/// shared by all customers of the app, and each site has a quota of its own; answers state both.
/// Per endpoint Jira allows a hundred requests a second to all apps of a site together
/// ("Rate limiting" at developer.atlassian.com).
pub(super) fn limits(reader: &mut Reader<'_>) -> RateLimits {
    let app = reader.within(POINTS_PER_SECOND, 1000.0, 0.1, 1_000_000.0);
    let site = reader.within(SITE_POINTS_PER_SECOND, 500.0, 0.1, 1_000_000.0);
    let calls = reader.within(REQUESTS_PER_SECOND, 10.0, 0.01, 1_000_000.0);
    // A page of a hundred issues costs a hundred and one.
    let burst = reader.within(BURST, 300, 1, 1_000_000);
    let points = |reach, per_second, units| RateBudget {
        reach,
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
                reach: LimitScope::Operation,
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
        if !is_set_up(reader, "Atlassian app", &NEEDED, &[]) {
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
    fn without_any_setting_jira_is_not_configured() {
        assert!(read(&[]).expect("valid").app.is_none());
        let bases = read(&[(API_BASE_URL, "http://localhost:1")]);
        assert!(bases.expect("valid").app.is_none());
    }

    #[test]
    fn a_part_of_the_settings_names_the_others() {
        for (set, missing) in [(CLIENT_ID, CLIENT_SECRET), (CLIENT_SECRET, CLIENT_ID)] {
            let error = read(&[(set, "s3cret")]).expect_err("a contradiction");
            assert!(
                error.contains(&format!("POBLYSH_{missing} is not set")),
                "{error}"
            );
            assert!(!error.contains("s3cret"));
        }
    }

    #[test]
    fn settings_do_not_show_secrets() {
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
