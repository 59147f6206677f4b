//! The operator's settings for Slack: what they are called, and when they make sense.
//!
//! Slack is configured when the app's client id and client secret are set; one without the
//! other is a contradiction. Without the webhook secret (Slack calls it the signing secret)
//! teams can connect and are polled, but every webhook is refused.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::descriptor;
use crate::config::Reader;
use crate::connectors::support::is_set_up;
use crate::connectors::{
    LimitScope, ProviderDescriptor, RateBudget, RateLimits, RateQuota, RateUnit,
};

pub(super) const APP_ID: &str = "SLACK_APP_ID";
const APP_TOKEN: &str = "SLACK_APP_TOKEN";
const CLIENT_ID: &str = "SLACK_CLIENT_ID";
const CLIENT_SECRET: &str = "SLACK_CLIENT_SECRET";
pub(super) const WEBHOOK_SECRET: &str = "SLACK_WEBHOOK_SECRET";
const USER_SCOPES: &str = "SLACK_USER_SCOPES";
const BASE_URL: &str = "SLACK_BASE_URL";
const HISTORY_PROFILE: &str = "SLACK_HISTORY_PROFILE";
const RATE_FACTOR: &str = "SLACK_RATE_FACTOR";

/// Without these there is no app.
const NEEDED: [&str; 2] = [CLIENT_ID, CLIENT_SECRET];
/// Whatever else is set of an app means that there is one.
const OPTIONAL: [&str; 3] = [APP_ID, APP_TOKEN, WEBHOOK_SECRET];

/// Calls per minute of the tiers ("Rate limits" at docs.slack.dev), less one in twenty-five,
/// because Slack's minute and ours do not begin together.
const TIER_2: (u32, Duration) = (19, Duration::from_mins(1));
const TIER_3: (u32, Duration) = (48, Duration::from_mins(1));
const TIER_4: (u32, Duration) = (96, Duration::from_mins(1));
/// The highest rate within a minute, in calls per second, and how many at once.
const PER_SECOND: f64 = 5.0;
const BURST: u32 = 5;

/// What the operator set for Slack.
#[derive(Debug)]
pub struct SlackSettings {
    /// How often and how many at once Slack may be called.
    pub limits: RateLimits,
    /// The app; `None` when Slack is not configured.
    pub app: Option<AppSettings>,
}

/// How Slack limits the reading of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryProfile {
    /// Apps of the Marketplace and of one's own organization.
    Standard,
    /// Apps that are distributed otherwise: a request per minute, fifteen messages each.
    Limited,
}

impl HistoryProfile {
    /// Messages per page.
    pub(super) const fn page(self) -> u32 {
        match self {
            Self::Standard => 200,
            Self::Limited => 15,
        }
    }

    /// Calls per window.
    const fn quota(self) -> (u32, Duration) {
        match self {
            Self::Standard => TIER_3,
            // A second above the minute: Slack's window and ours do not begin together.
            Self::Limited => (1, Duration::from_secs(61)),
        }
    }
}

/// A Slack app's settings.
pub struct AppSettings {
    /// The app's id; deliveries of another are not routed.
    pub app_id: Option<String>,
    /// The app-level token that tells whom an event of a shared channel is for.
    pub app_token: Option<SecretString>,
    /// The app's OAuth client.
    pub client_id: String,
    /// The OAuth client's secrets: one, or two while rotating.
    pub client_secrets: Vec<SecretString>,
    /// Secrets that webhooks are signed with: none, one, or two while rotating.
    pub signing_secrets: Vec<SecretString>,
    /// What is asked of the person who installs the app, for a token of their own: none by
    /// default. It reads threads that Slack does not show the bot.
    pub user_scopes: Vec<String>,
    /// Where Slack is: <https://slack.com>.
    pub base: Url,
    /// How Slack limits the reading of messages.
    pub profile: HistoryProfile,
    /// How often and how many at once Slack may be called.
    pub limits: RateLimits,
}

impl std::fmt::Debug for AppSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppSettings")
            .field("app_id", &self.app_id)
            .field("client_id", &self.client_id)
            .field("base", &self.base.as_str())
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl SlackSettings {
    /// Reads the settings; what is wrong is noted in the reader.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let (profile, limits) = Self::limits(reader);
        let app = AppSettings::from_reader(reader, profile, &limits);
        Self { limits, app }
    }

    /// Reads how Slack limits the reading of messages, and all of its limits.
    pub(super) fn limits(reader: &mut Reader<'_>) -> (HistoryProfile, RateLimits) {
        let profile = match reader.optional_string(HISTORY_PROFILE).as_deref() {
            None | Some("standard") => HistoryProfile::Standard,
            Some("limited") => HistoryProfile::Limited,
            Some(_) => {
                reader.problem(HISTORY_PROFILE, "must be `standard` or `limited`");
                HistoryProfile::Limited
            }
        };
        let factor = reader.within(RATE_FACTOR, 1.0, 0.01, 100_000.0);
        (profile, limits(profile, factor))
    }

    /// What Slack is and can do, with these limits.
    pub fn descriptor(&self) -> ProviderDescriptor {
        descriptor(self.limits.clone())
    }
}

/// Slack limits each method per workspace; the operations are named after the methods.
fn limits(profile: HistoryProfile, factor: f64) -> RateLimits {
    let budget = |(calls, window): (u32, Duration), operations| RateBudget {
        reach: LimitScope::Operation,
        operations,
        unit: RateUnit::Calls,
        per_second: PER_SECOND * factor,
        burst: whole(f64::from(BURST) * factor),
        quota: Some(RateQuota {
            units: whole(f64::from(calls) * factor),
            window,
            reserve: 0.0,
            poll_share: None,
        }),
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
    reason = "a conversion that saturates is what is wanted"
)]
const fn whole(units: f64) -> u32 {
    units as u32
}

impl AppSettings {
    fn from_reader(
        reader: &mut Reader<'_>,
        profile: HistoryProfile,
        limits: &RateLimits,
    ) -> Option<Self> {
        let base = reader.url(BASE_URL, "https://slack.com");
        if !is_set_up(reader, "Slack app", &NEEDED, &OPTIONAL) {
            return None;
        }
        let client_secrets = reader.one_or_two_secrets(CLIENT_SECRET);
        let signing_secrets = reader.one_or_two_secrets(WEBHOOK_SECRET);
        let app_token = app_token(reader);
        let user_scopes = user_scopes(reader);
        Some(Self {
            app_id: reader.optional_string(APP_ID),
            app_token,
            client_id: reader.optional_string(CLIENT_ID)?,
            client_secrets,
            signing_secrets,
            user_scopes,
            base,
            profile,
            limits: limits.clone(),
        })
    }
}

/// The app-level token, as long as every secret.
fn app_token(reader: &mut Reader<'_>) -> Option<SecretString> {
    let mut tokens = reader.one_or_two_secrets(APP_TOKEN);
    if tokens.len() > 1 {
        reader.problem(APP_TOKEN, "must be one value");
    }
    tokens.pop()
}

/// Scopes as Slack lists them, with commas.
fn user_scopes(reader: &mut Reader<'_>) -> Vec<String> {
    let listed = reader.optional_string(USER_SCOPES).unwrap_or_default();
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
            "must be scopes with commas between, such as `channels:history,groups:history`",
        );
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    fn read(pairs: &[(&str, &str)]) -> Result<SlackSettings, String> {
        let env = Env::from_pairs(
            pairs
                .iter()
                .map(|(name, value)| (format!("POBLYSH_{name}"), (*value).to_owned())),
        );
        let mut reader = Reader::new(&env);
        let settings = SlackSettings::from_reader(&mut reader);
        reader
            .finish()
            .map(|()| settings)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_any_setting_slack_is_not_configured() {
        assert!(read(&[]).expect("valid").app.is_none());
        let base_only = read(&[(BASE_URL, "http://localhost:1")]);
        assert!(base_only.expect("valid").app.is_none());
    }

    #[test]
    fn a_part_of_the_settings_names_the_others() {
        for (set, missing) in [
            (CLIENT_ID, CLIENT_SECRET),
            (CLIENT_SECRET, CLIENT_ID),
            (WEBHOOK_SECRET, CLIENT_ID),
            (APP_TOKEN, CLIENT_SECRET),
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
    fn the_profile_decides_how_messages_are_read() {
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
            assert_eq!(settings.app.expect("configured").profile.page(), page);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
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
    fn settings_do_not_show_secrets() {
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
