//! The operator's settings for GitHub: what they are called, and when they make sense.
//!
//! GitHub is configured when the app's id, slug, client id, client secret and private key
//! are all set; a part of them is a contradiction that names what is missing. Without a
//! webhook secret teams can connect and are polled, but every webhook is refused.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::EncodingKey;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{auth, descriptor};
use crate::config::Reader;
use crate::connectors::support::is_set_up;
use crate::connectors::{LimitScope, ProviderDescriptor, RateBudget, RateLimits, RateQuota};

const APP_ID: &str = "GITHUB_APP_ID";
const APP_SLUG: &str = "GITHUB_APP_SLUG";
const CLIENT_ID: &str = "GITHUB_CLIENT_ID";
const CLIENT_SECRET: &str = "GITHUB_CLIENT_SECRET";
const PRIVATE_KEY: &str = "GITHUB_PRIVATE_KEY";
pub(super) const WEBHOOK_SECRET: &str = "GITHUB_WEBHOOK_SECRET";
const WEB_BASE_URL: &str = "GITHUB_WEB_BASE_URL";
const API_BASE_URL: &str = "GITHUB_API_BASE_URL";
const REQUESTS_PER_SECOND: &str = "GITHUB_REQUESTS_PER_SECOND";
const BURST: &str = "GITHUB_BURST";

/// An installation's requests per hour, until an answer states how many there are. The highest
/// rate, ten requests a second, keeps the secondary limit of 900 points a minute ("Rate limits
/// for the REST API" at docs.github.com). Polls leave most of the quota to others.
const QUOTA: RateQuota = RateQuota {
    units: 5_000,
    window: Duration::from_hours(1),
    reserve: 0.05,
    poll_share: Some(0.28),
};

/// Searches are limited beside: thirty a minute, whose minute and ours do not begin together.
const SEARCHES: RateQuota = RateQuota {
    units: 28,
    window: Duration::from_mins(1),
    reserve: 0.0,
    poll_share: None,
};

/// Without these there is no app.
const NEEDED: [&str; 5] = [APP_ID, APP_SLUG, CLIENT_ID, CLIENT_SECRET, PRIVATE_KEY];

/// What the operator set for GitHub.
#[derive(Debug)]
pub struct GitHubSettings {
    /// How often and how many at once GitHub may be called.
    pub limits: RateLimits,
    /// The app; `None` when GitHub is not configured.
    pub app: Option<AppSettings>,
}

/// A GitHub App's settings.
pub struct AppSettings {
    /// The app's number, as it signs its own tokens.
    pub app_id: String,
    /// The app's name in the URL of its install page.
    pub slug: String,
    /// The app's OAuth client.
    pub client_id: String,
    /// The OAuth client's secrets: one, or two while rotating.
    pub client_secrets: Vec<SecretString>,
    /// Secrets that webhooks are signed with: none, one, or two while rotating.
    pub webhook_secrets: Vec<SecretString>,
    /// The key that the app's own tokens are signed with.
    pub private_key: EncodingKey,
    /// Where browsers go: <https://github.com>, or an Enterprise host.
    pub web_base: Url,
    /// Where the REST API is: <https://api.github.com>, or an Enterprise host's `/api/v3`.
    pub api_base: Url,
    /// How often and how many at once GitHub may be called.
    pub limits: RateLimits,
}

impl std::fmt::Debug for AppSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppSettings")
            .field("app_id", &self.app_id)
            .field("slug", &self.slug)
            .field("client_id", &self.client_id)
            .field("web_base", &self.web_base.as_str())
            .field("api_base", &self.api_base.as_str())
            .finish_non_exhaustive()
    }
}

impl GitHubSettings {
    /// Reads the settings; what is wrong is noted in the reader.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let limits = Self::limits(reader);
        let app = AppSettings::from_reader(reader, &limits);
        Self { limits, app }
    }

    /// Reads how often and how many at once GitHub may be called.
    pub(super) fn limits(reader: &mut Reader<'_>) -> RateLimits {
        RateLimits {
            budgets: vec![
                RateBudget {
                    quota: Some(QUOTA),
                    ..RateBudget::per_account(
                        reader.within(REQUESTS_PER_SECOND, 10.0, 0.01, 100_000.0),
                        reader.within(BURST, 20, 1, 1_000_000),
                    )
                },
                RateBudget {
                    reach: LimitScope::Operation,
                    operations: &["search_issues"],
                    quota: Some(SEARCHES),
                    ..RateBudget::per_account(5.0, 5)
                },
            ],
            account_concurrency: 10,
            process_concurrency: 50,
        }
    }

    /// What GitHub is and can do, with these limits.
    pub fn descriptor(&self) -> ProviderDescriptor {
        descriptor(self.limits.clone())
    }
}

impl AppSettings {
    fn from_reader(reader: &mut Reader<'_>, limits: &RateLimits) -> Option<Self> {
        let web_base = reader.url(WEB_BASE_URL, "https://github.com");
        let api_base = reader.url(API_BASE_URL, "https://api.github.com");
        if !is_set_up(reader, "GitHub App", &NEEDED, &[WEBHOOK_SECRET]) {
            return None;
        }
        let app_id = reader.optional_string(APP_ID)?;
        if !app_id.bytes().all(|byte| byte.is_ascii_digit()) {
            reader.problem(APP_ID, "must be the app's number");
        }
        let slug = reader.optional_string(APP_SLUG)?;
        if !slug
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            reader.problem(
                APP_SLUG,
                "must be the app's name in the URL of its public page",
            );
        }
        let client_secrets = reader.one_or_two_secrets(CLIENT_SECRET);
        let webhook_secrets = reader.one_or_two_secrets(WEBHOOK_SECRET);
        let private_key = private_key(reader);
        Some(Self {
            app_id,
            slug,
            client_id: reader.optional_string(CLIENT_ID)?,
            client_secrets,
            webhook_secrets,
            private_key: private_key?,
            web_base,
            api_base,
            limits: limits.clone(),
        })
    }
}

/// The key as PEM, as PEM with `\n` for line ends, or as base64 of the PEM. A key that
/// cannot sign is found here rather than at the first call.
fn private_key(reader: &mut Reader<'_>) -> Option<EncodingKey> {
    let text = reader.optional_secret(PRIVATE_KEY)?;
    let key = pem(&text)
        .and_then(|pem| EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes()).ok())
        .filter(auth::can_sign);
    if key.is_none() {
        reader.problem(
            PRIVATE_KEY,
            "is not an RSA private key in PEM (line ends may be written as \\n, or the whole as base64)",
        );
    }
    key
}

fn pem(text: &SecretString) -> Option<SecretString> {
    let text = text.expose_secret();
    if text.contains("-----BEGIN") {
        return Some(text.replace("\\n", "\n").into());
    }
    let compact: String = text.split_whitespace().collect();
    let bytes = STANDARD.decode(compact).ok()?;
    String::from_utf8(bytes).ok().map(SecretString::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;
    use crate::connectors::github::tests::{TEST_KEY, env};

    fn read(pairs: &[(&str, &str)]) -> Result<GitHubSettings, String> {
        let env = Env::from_pairs(
            pairs
                .iter()
                .map(|(name, value)| (format!("POBLYSH_{name}"), (*value).to_owned())),
        );
        let mut reader = Reader::new(&env);
        let settings = GitHubSettings::from_reader(&mut reader);
        reader
            .finish()
            .map(|()| settings)
            .map_err(|error| error.to_string())
    }

    fn complete<'a>(change: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut pairs = vec![
            (APP_ID, "12345"),
            (APP_SLUG, "poblysh"),
            (CLIENT_ID, "Iv1.client"),
            (CLIENT_SECRET, "the-client-secret"),
            (PRIVATE_KEY, TEST_KEY),
        ];
        pairs.retain(|(name, _)| !change.iter().any(|(changed, _)| changed == name));
        pairs.extend(change.iter().filter(|(_, value)| !value.is_empty()));
        pairs
    }

    #[test]
    fn without_any_setting_github_is_not_configured() {
        assert!(read(&[]).expect("valid").app.is_none());
        assert!(
            read(&[(WEB_BASE_URL, "http://localhost:1")])
                .expect("valid")
                .app
                .is_none()
        );
    }

    #[test]
    fn a_part_of_the_settings_names_the_others() {
        for name in NEEDED {
            let error = read(&complete(&[(name, "")])).expect_err("a contradiction");
            assert!(
                error.contains(&format!("POBLYSH_{name} is not set")),
                "{error}"
            );
        }
        let error = read(&[(WEBHOOK_SECRET, "s3cret")]).expect_err("a contradiction");
        assert!(NEEDED.iter().all(|name| error.contains(name)), "{error}");
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn a_webhook_secret_may_come_later() {
        let app = read(&complete(&[]))
            .expect("valid")
            .app
            .expect("configured");
        assert!(app.webhook_secrets.is_empty());
        assert_eq!(app.api_base.as_str(), "https://api.github.com/");
    }

    #[test]
    fn the_key_may_be_written_in_three_ways() {
        let escaped = TEST_KEY.replace('\n', "\\n");
        let encoded = STANDARD.encode(TEST_KEY);
        for key in [TEST_KEY, &escaped, &encoded] {
            assert!(
                read(&complete(&[(PRIVATE_KEY, key)]))
                    .expect("valid")
                    .app
                    .is_some()
            );
        }
    }

    #[test]
    fn a_key_that_cannot_sign_is_refused_without_being_quoted() {
        let cut = TEST_KEY.replacen("MII", "MIX", 1);
        let public = include_str!("fixtures/test-app.pub.pem");
        for key in ["nonsense", "-----BEGIN RSA PRIVATE KEY-----", &cut, public] {
            let error = read(&complete(&[(PRIVATE_KEY, key)])).expect_err("no key");
            assert!(error.contains("POBLYSH_GITHUB_PRIVATE_KEY is not an RSA private key"));
            assert!(!error.contains("nonsense"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (name, value) in [
            (APP_ID, "Iv1.client"),
            (APP_SLUG, "../admin"),
            (
                CLIENT_SECRET,
                "0123456789abcdef,1123456789abcdef,2123456789abcdef",
            ),
            (
                WEBHOOK_SECRET,
                "0123456789abcdef,1123456789abcdef,2123456789abcdef",
            ),
            (WEBHOOK_SECRET, "0123456789abcdef,,1123456789abcdef"),
            (REQUESTS_PER_SECOND, "0"),
            (BURST, "0"),
            (API_BASE_URL, "api.github.com"),
        ] {
            assert!(read(&complete(&[(name, value)])).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn settings_do_not_show_secrets() {
        let env = env("http://localhost:1", "http://localhost:2");
        let shown = format!("{:?}", GitHubSettings::from_reader(&mut Reader::new(&env)));
        assert!(shown.contains("12345"));
        assert!(
            !shown.contains("secret\"") && !shown.contains("PRIVATE"),
            "{shown}"
        );
    }
}
