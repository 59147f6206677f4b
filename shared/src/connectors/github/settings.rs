//! The operator's settings for GitHub.
//!
//! GitHub is configured if the app's id, slug, client id, client secret and private key are set; an
//! incomplete configuration is an error that names the missing settings. Without a webhook secret,
//! teams can connect and are polled, but every webhook is rejected.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::EncodingKey;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{auth, descriptor};
use crate::connectors::oauth::OAuthClient;
use crate::connectors::settings::{App, AppReader, ProviderSettings};
use crate::connectors::{ProviderDescriptor, RateBudget, RateLimits, RateQuota};
use crate::model::LimitScope;

const APP_ID: &str = "GITHUB_APP_ID";
const APP_SLUG: &str = "GITHUB_APP_SLUG";
const PRIVATE_KEY: &str = "GITHUB_PRIVATE_KEY";

/// An installation's requests per hour, until a response states the number.
///
/// The maximum rate of ten requests per second respects the secondary limit of 900 points per
/// minute ("Rate limits for the REST API" at docs.github.com). Polls leave most of the quota to
/// other calls.
const QUOTA: RateQuota = RateQuota {
    units: 5_000,
    window: Duration::from_hours(1),
    reserve: 0.05,
    poll_share: Some(0.26),
};

/// Searches per minute.
///
/// GitHub allows thirty. Two are kept in reserve, because its minutes and ours do not coincide.
const SEARCHES: RateQuota = RateQuota {
    units: 28,
    window: Duration::from_mins(1),
    reserve: 0.0,
    poll_share: None,
};

/// Settings of GitHub.
pub type GitHubSettings = ProviderSettings<AppSettings>;

/// Settings of a GitHub App.
#[derive(Debug)]
pub struct AppSettings {
    /// App id, the issuer of the app's tokens.
    pub app_id: String,
    /// Slug in the URL of the install page.
    pub slug: String,
    /// OAuth client.
    pub client: OAuthClient,
    /// Webhook secrets: none, one, or two during a rotation.
    pub webhook_secrets: Vec<SecretString>,
    /// Key that signs the app's tokens.
    pub private_key: EncodingKey,
    /// Base URL of the web pages: <https://github.com>, or an Enterprise host.
    pub web_base: Url,
    /// Base URL of the REST API: <https://api.github.com>, or an Enterprise host's `/api/v3`.
    pub api_base: Url,
    /// Limits of calls to GitHub.
    pub limits: RateLimits,
}

impl App for AppSettings {
    const NAME: &'static str = "GitHub App";

    fn limits(reader: &mut AppReader<'_, '_>) -> RateLimits {
        RateLimits {
            budgets: vec![
                RateBudget {
                    quota: Some(QUOTA),
                    ..RateBudget::per_account(
                        reader.within("GITHUB_REQUESTS_PER_SECOND", 10.0, 0.01, 100_000.0),
                        reader.within("GITHUB_BURST", 20, 1, 1_000_000),
                    )
                },
                RateBudget {
                    scope: LimitScope::Operation,
                    operations: &["search_issues"],
                    quota: Some(SEARCHES),
                    ..RateBudget::per_account(5.0, 5)
                },
            ],
            account_concurrency: 10,
            process_concurrency: 50,
        }
    }

    fn read(reader: &mut AppReader<'_, '_>, limits: RateLimits) -> Option<Self> {
        Some(Self {
            app_id: app_id(reader),
            slug: slug(reader),
            client: reader.oauth_client("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET"),
            webhook_secrets: webhook_secrets(reader),
            web_base: reader.base_url("GITHUB_WEB_BASE_URL", "https://github.com"),
            api_base: reader.base_url("GITHUB_API_BASE_URL", "https://api.github.com"),
            limits,
            // Read last: there is no placeholder for it.
            private_key: private_key(reader)?,
        })
    }

    fn descriptor(limits: RateLimits) -> ProviderDescriptor {
        descriptor(limits)
    }
}

/// Reads the webhook secrets.
pub(super) fn webhook_secrets(reader: &mut AppReader<'_, '_>) -> Vec<SecretString> {
    reader.optional_secrets("GITHUB_WEBHOOK_SECRET")
}

fn app_id(reader: &mut AppReader<'_, '_>) -> String {
    let id = reader.required(APP_ID);
    if !id.bytes().all(|byte| byte.is_ascii_digit()) {
        reader.problem(APP_ID, "must be the app's number");
    }
    id
}

fn slug(reader: &mut AppReader<'_, '_>) -> String {
    let slug = reader.required(APP_SLUG);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !slug.bytes().all(is_allowed) {
        reader.problem(
            APP_SLUG,
            "must be the app's name in the URL of its public page",
        );
    }
    slug
}

/// Reads the key: PEM, PEM with `\n` as line ends, or base64 of the PEM.
///
/// A key that cannot sign is rejected here rather than at the first call.
fn private_key(reader: &mut AppReader<'_, '_>) -> Option<EncodingKey> {
    let text = reader.required_secret(PRIVATE_KEY)?;
    let key = pem(&text)
        .and_then(|pem| EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes()).ok())
        .filter(auth::can_sign);
    if key.is_none() {
        reader.problem(
            PRIVATE_KEY,
            "is not an RSA private key in PEM (line ends may be \\n, or the whole key base64)",
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
    use crate::connectors::github::tests::{TEST_KEY, settings};
    use crate::connectors::testing::read_settings;

    const CLIENT_ID: &str = "GITHUB_CLIENT_ID";
    const CLIENT_SECRET: &str = "GITHUB_CLIENT_SECRET";
    const WEBHOOK_SECRET: &str = "GITHUB_WEBHOOK_SECRET";
    const WEB_BASE_URL: &str = "GITHUB_WEB_BASE_URL";
    const API_BASE_URL: &str = "GITHUB_API_BASE_URL";
    const REQUIRED: [&str; 5] = [APP_ID, APP_SLUG, CLIENT_ID, CLIENT_SECRET, PRIVATE_KEY];

    fn read(pairs: &[(&str, &str)]) -> Result<GitHubSettings, String> {
        read_settings(pairs)
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
    fn github_without_settings_is_not_configured() {
        assert!(read(&[]).expect("valid").app.is_none());
        assert!(
            read(&[(WEB_BASE_URL, "http://localhost:1")])
                .expect("valid")
                .app
                .is_none()
        );
    }

    #[test]
    fn incomplete_settings_name_missing_ones() {
        for name in REQUIRED {
            let error = read(&complete(&[(name, "")])).expect_err("incomplete settings");
            assert!(
                error.contains(&format!("POBLYSH_{name} is not set")),
                "{error}"
            );
        }
        let error = read(&[(WEBHOOK_SECRET, "s3cret")]).expect_err("incomplete settings");
        assert!(REQUIRED.iter().all(|name| error.contains(name)), "{error}");
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn webhook_secret_is_optional() {
        let app = read(&complete(&[]))
            .expect("valid")
            .app
            .expect("configured");
        assert!(app.webhook_secrets.is_empty());
        assert_eq!(app.api_base.as_str(), "https://api.github.com/");
    }

    #[test]
    fn private_key_has_three_formats() {
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
    fn invalid_private_key_is_rejected_without_quoting_it() {
        let damaged = TEST_KEY.replacen("MII", "MIX", 1);
        let public = include_str!("fixtures/test-app.pub.pem");
        for key in [
            "nonsense",
            "-----BEGIN RSA PRIVATE KEY-----",
            &damaged,
            public,
        ] {
            let error = read(&complete(&[(PRIVATE_KEY, key)])).expect_err("no key");
            assert!(error.contains("POBLYSH_GITHUB_PRIVATE_KEY is not an RSA private key"));
            assert!(!error.contains("nonsense"));
        }
    }

    #[test]
    fn invalid_settings_are_rejected() {
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
            ("GITHUB_REQUESTS_PER_SECOND", "0"),
            ("GITHUB_BURST", "0"),
            (API_BASE_URL, "api.github.com"),
        ] {
            assert!(read(&complete(&[(name, value)])).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn limits_apply_without_an_app() {
        let settings = read(&[]).expect("nothing is required");
        assert!(settings.app.is_none());
        assert!((settings.limits.budgets[0].per_second - 10.0).abs() < f64::EPSILON);
    }

    #[test]
    fn debug_output_omits_secrets() {
        let settings =
            read_settings::<AppSettings, _>(&settings("http://localhost:1")).expect("valid");
        let shown = format!("{settings:?}");
        assert!(shown.contains("12345"));
        assert!(
            !shown.contains("secret\"") && !shown.contains("PRIVATE"),
            "{shown}"
        );
    }
}
