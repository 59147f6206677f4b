//! Settings that Google's products share: the OAuth client, hosts, and quotas.

use secrecy::SecretString;
use url::Url;

use crate::connectors::oauth::OAuthClient;
use crate::connectors::settings::{AppReader, SECONDS_PER_MINUTE, whole};
use crate::connectors::{RateBudget, RateLimits, RateUnit};
use crate::model::LimitScope;

/// Parts of a quota that calls may use.
#[derive(Clone, Copy)]
struct Shares {
    /// Used at a steady rate.
    steady: f64,
    /// Used at once after a pause.
    burst: f64,
}

/// Of a person's quota, which no other program of the project uses.
const USER: Shares = Shares {
    steady: 0.95,
    burst: 0.05,
};
/// Of the project's quota, which other programs of the project may use as well.
const PROJECT: Shares = Shares {
    steady: 0.7,
    burst: 0.3,
};

/// An OAuth client of a Google Cloud project, and Google's hosts.
#[derive(Debug)]
pub struct GoogleApp {
    /// The OAuth client, of type "Web application".
    pub client: OAuthClient,
    /// Secrets from which the tokens of watch channels are derived: none, one, or two during a
    /// rotation. New channels use the first one.
    pub webhook_secrets: Vec<SecretString>,
    /// Google's hosts.
    pub hosts: Hosts,
}

/// Base URLs of Google's hosts.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// The consent page, by default <https://accounts.google.com>.
    pub auth: Url,
    /// The token and revocation endpoints, by default <https://oauth2.googleapis.com>.
    pub token: Url,
    /// The identity of a person, by default <https://openidconnect.googleapis.com>.
    pub userinfo: Url,
    /// The APIs of Drive and Calendar and Google's public keys.
    ///
    /// By default <https://www.googleapis.com>.
    pub api: Url,
    /// The API of Gmail, by default <https://gmail.googleapis.com>.
    pub gmail: Url,
}

impl GoogleApp {
    /// Reads the settings, which are the same for every product.
    pub(in crate::connectors) fn read(reader: &mut AppReader<'_, '_>) -> Self {
        Self {
            client: reader.oauth_client("GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"),
            webhook_secrets: webhook_secrets(reader),
            hosts: Hosts {
                auth: reader.base_url("GOOGLE_AUTH_BASE_URL", "https://accounts.google.com"),
                token: reader.base_url("GOOGLE_TOKEN_BASE_URL", "https://oauth2.googleapis.com"),
                userinfo: reader.base_url(
                    "GOOGLE_USERINFO_BASE_URL",
                    "https://openidconnect.googleapis.com",
                ),
                api: api_base(reader),
                gmail: reader.base_url("GOOGLE_GMAIL_API_BASE_URL", "https://gmail.googleapis.com"),
            },
        }
    }
}

/// Reads the base URL of the APIs of Drive and Calendar and of Google's public keys.
pub(in crate::connectors) fn api_base(reader: &mut AppReader<'_, '_>) -> Url {
    reader.base_url("GOOGLE_API_BASE_URL", "https://www.googleapis.com")
}

/// Reads the secrets from which the tokens of watch channels are derived.
pub(in crate::connectors) fn webhook_secrets(reader: &mut AppReader<'_, '_>) -> Vec<SecretString> {
    reader.optional_secrets("GOOGLE_WEBHOOK_SECRET")
}

/// A quota of Google's: units per minute.
#[derive(Debug, Clone, Copy)]
pub(in crate::connectors) struct Quota {
    /// The name of the setting.
    pub setting: &'static str,
    /// Google's figure for new projects.
    pub units: u32,
}

/// Reads a product's quotas, of a person and of the project, as limits of calls.
///
/// Burst and steady rate together stay below the quota in every minute.
pub(in crate::connectors) fn limits(
    reader: &mut AppReader<'_, '_>,
    user: Quota,
    project: Quota,
) -> RateLimits {
    let mut budget = |quota: Quota, scope, shares: Shares| {
        let units = f64::from(reader.within(quota.setting, quota.units, 60, 2_000_000_000));
        RateBudget {
            scope,
            unit: RateUnit::Points,
            ..RateBudget::per_account(
                units * shares.steady / SECONDS_PER_MINUTE,
                whole(units * shares.burst),
            )
        }
    };
    RateLimits {
        budgets: vec![
            budget(project, LimitScope::Provider, PROJECT),
            budget(user, LimitScope::Account, USER),
        ],
        account_concurrency: 4,
        process_concurrency: 50,
    }
}
