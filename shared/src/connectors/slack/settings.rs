//! Settings of the Slack connector.
//!
//! Slack is configured when the app's client id and client secret are set; one without the other
//! is an error. Without the webhook secret (Slack: signing secret) teams can connect and are
//! polled, but every webhook is rejected.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::descriptor;
use crate::connectors::oauth::OAuthClient;
use crate::connectors::settings::{App, AppReader, ProviderSettings};
use crate::connectors::{ProviderDescriptor, RateBudget, RateLimits, RateQuota};
use crate::model::LimitScope;

const APP_TOKEN: &str = "SLACK_APP_TOKEN";
const USER_SCOPES: &str = "SLACK_USER_SCOPES";
const HISTORY_PROFILE: &str = "SLACK_HISTORY_PROFILE";

/// Calls per minute of a rate limit tier ("Rate limits" at docs.slack.dev), less 4 %.
///
/// The margin covers that Slack's minute and ours start at different times.
const TIER_2: (u32, Duration) = (19, Duration::from_mins(1));
const TIER_3: (u32, Duration) = (48, Duration::from_mins(1));
const TIER_4: (u32, Duration) = (96, Duration::from_mins(1));
/// Maximum calls per second within a minute.
const PER_SECOND: f64 = 5.0;
/// Maximum burst of calls.
const BURST: u32 = 5;

/// Settings of the Slack connector.
pub type SlackSettings = ProviderSettings<AppSettings>;

/// Rate limit of the methods that read messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryProfile {
    /// Marketplace apps, and internal apps of an organization.
    Standard,
    /// Other distributed apps: one request per minute, fifteen messages each.
    Limited,
}

impl HistoryProfile {
    fn read(reader: &mut AppReader<'_, '_>) -> Self {
        match reader.defaulted(HISTORY_PROFILE).as_deref() {
            None | Some("standard") => Self::Standard,
            Some("limited") => Self::Limited,
            Some(_) => {
                reader.problem(HISTORY_PROFILE, "must be `standard` or `limited`");
                Self::Limited
            }
        }
    }

    /// Messages per page.
    pub(super) const fn page_size(self) -> u32 {
        match self {
            Self::Standard => 200,
            Self::Limited => 15,
        }
    }

    /// Calls per window.
    const fn quota(self) -> (u32, Duration) {
        match self {
            Self::Standard => TIER_3,
            // One second more, because Slack's window and ours start at different times.
            Self::Limited => (1, Duration::from_secs(61)),
        }
    }
}

/// Settings of a Slack app.
#[derive(Debug)]
pub struct AppSettings {
    /// The app's id; deliveries of other apps are not routed.
    pub app_id: Option<String>,
    /// The app-level token, which lists the installations that receive a shared channel's event.
    pub app_token: Option<SecretString>,
    /// The OAuth client.
    pub client: OAuthClient,
    /// Signing secrets of webhooks: none, one, or two during rotation.
    pub signing_secrets: Vec<SecretString>,
    /// User scopes requested from the installer; none by default.
    ///
    /// The user token reads threads that the bot may not read.
    pub user_scopes: Vec<String>,
    /// The base URL, by default <https://slack.com>.
    pub base: Url,
    /// Rate limit of the methods that read messages.
    pub profile: HistoryProfile,
    /// Limits of rate and concurrency.
    pub limits: RateLimits,
}

impl App for AppSettings {
    const NAME: &'static str = "Slack app";

    fn limits(reader: &mut AppReader<'_, '_>) -> RateLimits {
        let profile = HistoryProfile::read(reader);
        limits(
            profile,
            reader.within("SLACK_RATE_FACTOR", 1.0, 0.01, 100_000.0),
        )
    }

    fn read(reader: &mut AppReader<'_, '_>, limits: RateLimits) -> Option<Self> {
        Some(Self {
            app_id: app_id(reader),
            app_token: app_token(reader),
            client: reader.oauth_client("SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET"),
            signing_secrets: webhook_secrets(reader),
            user_scopes: user_scopes(reader),
            base: reader.base_url("SLACK_BASE_URL", "https://slack.com"),
            profile: HistoryProfile::read(reader),
            limits,
        })
    }

    fn descriptor(limits: RateLimits) -> ProviderDescriptor {
        descriptor(limits)
    }
}

/// Reads the app's id.
pub(super) fn app_id(reader: &mut AppReader<'_, '_>) -> Option<String> {
    reader.optional("SLACK_APP_ID")
}

/// Reads the signing secrets of webhooks.
pub(super) fn webhook_secrets(reader: &mut AppReader<'_, '_>) -> Vec<SecretString> {
    reader.optional_secrets("SLACK_WEBHOOK_SECRET")
}

/// Rate limits per method and workspace; an operation has the name of its method.
fn limits(profile: HistoryProfile, factor: f64) -> RateLimits {
    let budget = |(calls, window): (u32, Duration), operations| RateBudget {
        scope: LimitScope::Operation,
        operations,
        quota: Some(RateQuota {
            units: saturating_u32(f64::from(calls) * factor),
            window,
            reserve: 0.0,
            poll_share: None,
        }),
        ..RateBudget::per_account(
            PER_SECOND * factor,
            saturating_u32(f64::from(BURST) * factor),
        )
    };
    RateLimits {
        budgets: vec![
            budget(
                profile.quota(),
                &["conversations.history", "conversations.replies"],
            ),
            budget(
                TIER_2,
                &["conversations.list", "users.list", "auth.teams.list"],
            ),
            budget(
                TIER_3,
                &[
                    "users.conversations",
                    "conversations.info",
                    "bots.info",
                    "auth.test",
                    "team.info",
                    "oauth.v2.access",
                ],
            ),
            budget(TIER_4, &["users.info", "apps.event.authorizations.list"]),
        ],
        account_concurrency: 4,
        process_concurrency: 50,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturation is intended"
)]
const fn saturating_u32(units: f64) -> u32 {
    units as u32
}

/// Reads the app-level token.
fn app_token(reader: &mut AppReader<'_, '_>) -> Option<SecretString> {
    let mut tokens = reader.optional_secrets(APP_TOKEN);
    if tokens.len() > 1 {
        reader.problem(APP_TOKEN, "must be one value");
    }
    tokens.pop()
}

/// Reads the user scopes, separated by commas as in Slack's documentation.
fn user_scopes(reader: &mut AppReader<'_, '_>) -> Vec<String> {
    let listed = reader.defaulted(USER_SCOPES).unwrap_or_default();
    let scopes: Vec<String> = listed
        .split(',')
        .map(|scope| scope.trim().to_owned())
        .filter(|scope| !scope.is_empty())
        .collect();
    let is_scope = |scope: &String| {
        scope
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b':' | b'.' | b'_' | b'-'))
    };
    if !scopes.iter().all(is_scope) {
        reader.problem(
            USER_SCOPES,
            "must be scopes separated by commas, such as `channels:history,groups:history`",
        );
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::read_settings;

    const CLIENT_ID: &str = "SLACK_CLIENT_ID";
    const CLIENT_SECRET: &str = "SLACK_CLIENT_SECRET";
    const WEBHOOK_SECRET: &str = "SLACK_WEBHOOK_SECRET";
    const BASE_URL: &str = "SLACK_BASE_URL";
    const RATE_FACTOR: &str = "SLACK_RATE_FACTOR";

    fn read(pairs: &[(&str, &str)]) -> Result<SlackSettings, String> {
        read_settings(pairs)
    }

    #[test]
    fn slack_is_unconfigured_without_settings() {
        assert!(read(&[]).expect("valid").app.is_none());
        let base_only = read(&[(BASE_URL, "http://localhost:1")]);
        assert!(base_only.expect("valid").app.is_none());
    }

    #[test]
    fn incomplete_settings_name_the_missing_one() {
        for (set, missing) in [
            (CLIENT_ID, CLIENT_SECRET),
            (CLIENT_SECRET, CLIENT_ID),
            (WEBHOOK_SECRET, CLIENT_ID),
            (APP_TOKEN, CLIENT_SECRET),
        ] {
            let error = read(&[(set, "s3cret")]).expect_err("an incomplete app");
            assert!(
                error.contains(&format!("POBLYSH_{missing} is not set")),
                "{error}"
            );
            assert!(!error.contains("s3cret"));
        }
    }

    #[test]
    fn history_profile_sets_quota_and_page_size() {
        for (profile, calls, seconds, page) in [("standard", 48, 60, 200), ("limited", 1, 61, 15)] {
            let settings = read(&[
                (CLIENT_ID, "1.2"),
                (CLIENT_SECRET, "the-client-secret"),
                (HISTORY_PROFILE, profile),
            ])
            .expect("valid");
            let quota = settings.limits.budgets[0].quota.expect("a quota");
            assert_eq!(quota.units, calls);
            assert_eq!(quota.window, Duration::from_secs(seconds));
            assert_eq!(settings.app.expect("configured").profile.page_size(), page);
        }
    }

    #[test]
    fn invalid_values_are_rejected() {
        for (name, value) in [
            (HISTORY_PROFILE, "unlimited"),
            (
                CLIENT_SECRET,
                "0123456789abcdef,1123456789abcdef,2123456789abcdef",
            ),
            (APP_TOKEN, "xapp-1"),
            (APP_TOKEN, "xapp-0123456789ab,xapp-1123456789ab"),
            (RATE_FACTOR, "0"),
            (USER_SCOPES, "channels:history groups:history"),
            (BASE_URL, "slack.com"),
        ] {
            let mut pairs = vec![(CLIENT_ID, "1.2"), (CLIENT_SECRET, "the-client-secret")];
            pairs.retain(|(known, _)| *known != name);
            pairs.push((name, value));
            assert!(read(&pairs).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn debug_output_hides_secrets() {
        let settings = read(&[
            (CLIENT_ID, "1.2"),
            (CLIENT_SECRET, "s3cret-of-the-client"),
            (WEBHOOK_SECRET, "s3cret-of-signatures"),
            (APP_TOKEN, "xapp-s3cret-of-the-app"),
        ]);
        let shown = format!("{:?}", settings.expect("valid"));
        assert!(
            shown.contains("1.2") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
