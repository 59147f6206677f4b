//! The operator's settings for Jira: what they are called, and when they make sense.
//!
//! Jira is configured when the app's client id and client secret are set. The client secret
//! also signs the webhooks that are subscribed to; the webhook secret is for those that a
//! site's administrator sets up by hand.

use secrecy::SecretString;
use url::Url;

use super::descriptor;
use crate::config::Reader;
use crate::connectors::support::is_set_up;
use crate::connectors::{LimitScope, ProviderDescriptor, RateBudget, RateLimits, RateUnit};

const CLIENT_ID: &str = "JIRA_CLIENT_ID";
const CLIENT_SECRET: &str = "JIRA_CLIENT_SECRET";
const WEBHOOK_SECRET: &str = "JIRA_WEBHOOK_SECRET";
const AUTH_BASE_URL: &str = "JIRA_AUTH_BASE_URL";
const API_BASE_URL: &str = "JIRA_API_BASE_URL";
const POINTS_PER_SECOND: &str = "JIRA_POINTS_PER_SECOND";
const SITE_POINTS_PER_SECOND: &str = "JIRA_SITE_POINTS_PER_SECOND";
const REQUESTS_PER_SECOND: &str = "JIRA_REQUESTS_PER_SECOND";
const BURST: &str = "JIRA_BURST";

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
    /// Secrets that administrators' webhooks are signed with: none, one, or two.
    pub webhook_secrets: Vec<SecretString>,
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

/// Jira charges points: one for a call and one for each object it gives. The hour's points
/// are shared by all customers of the app; reading the past may use half of them, so that
/// nobody's backfill delays another's news.
fn limits(reader: &mut Reader<'_>) -> RateLimits {
    let app = reader.within(POINTS_PER_SECOND, 12.0, 0.1, 1_000_000.0);
    let site = reader.within(SITE_POINTS_PER_SECOND, 4.0, 0.1, 1_000_000.0);
    let calls = reader.within(REQUESTS_PER_SECOND, 5.0, 0.01, 1_000_000.0);
    // A page of a hundred issues costs a hundred and one.
    let burst = reader.within(BURST, 300, 1, 1_000_000);
    let points = |reach, bulk, per_second| RateBudget {
        reach,
        operations: &[],
        bulk,
        unit: RateUnit::Points,
        per_second,
        burst,
    };
    RateLimits {
        budgets: vec![
            points(LimitScope::Provider, false, app),
            points(LimitScope::Provider, true, app / 2.0),
            points(LimitScope::Account, false, site),
            RateBudget {
                reach: LimitScope::Operation,
                operations: &[],
                bulk: false,
                unit: RateUnit::Calls,
                per_second: calls,
                burst: burst.min(20),
            },
        ],
        account_concurrency: 2,
        process_concurrency: 50,
    }
}

impl AppSettings {
    fn from_reader(reader: &mut Reader<'_>, limits: &RateLimits) -> Option<Self> {
        let auth_base = reader.url(AUTH_BASE_URL, "https://auth.atlassian.com");
        let api_base = reader.url(API_BASE_URL, "https://api.atlassian.com");
        if !is_set_up(reader, "Atlassian app", &NEEDED, &[WEBHOOK_SECRET]) {
            return None;
        }
        let client_secrets = reader.one_or_two_secrets(CLIENT_SECRET);
        let webhook_secrets = reader.one_or_two_secrets(WEBHOOK_SECRET);
        Some(Self {
            client_id: reader.optional_string(CLIENT_ID)?,
            client_secrets,
            webhook_secrets,
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
        for (set, missing) in [
            (CLIENT_ID, CLIENT_SECRET),
            (CLIENT_SECRET, CLIENT_ID),
            (WEBHOOK_SECRET, CLIENT_ID),
        ] {
            let error = read(&[(set, "s3cret")]).expect_err("a contradiction");
            assert!(
                error.contains(&format!("POBLYSH_{missing} is not set")),
                "{error}"
            );
            assert!(!error.contains("s3cret"));
        }
    }

    #[test]
    fn the_past_may_use_half_of_what_all_share() {
        let settings = read(&[]).expect("valid");
        let shared = |bulk| {
            settings
                .limits
                .budgets
                .iter()
                .find(|one| one.reach == LimitScope::Provider && one.bulk == bulk)
                .expect("a budget")
                .per_second
        };
        assert!((shared(false) - 2.0 * shared(true)).abs() < 1e-9);
    }

    #[test]
    fn settings_do_not_show_secrets() {
        let settings = read(&[
            (CLIENT_ID, "the-client"),
            (CLIENT_SECRET, "s3cret-client"),
            (WEBHOOK_SECRET, "s3cret-webhook"),
        ]);
        let shown = format!("{:?}", settings.expect("valid"));
        assert!(
            shown.contains("the-client") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
