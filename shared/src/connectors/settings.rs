//! Settings of connectors: one pattern for every provider, and URLs below a base URL.
//!
//! A provider declares its settings by reading them with an [`AppReader`]: their names, their
//! defaults, and whether the app needs them. Whether the app is configured and which settings are
//! missing follows from that. Connectors of one family read the same settings.

use std::fmt;
use std::str::FromStr;

use secrecy::SecretString;
use url::Url;

use super::oauth::OAuthClient;
use super::{ProviderDescriptor, RateLimits};
use crate::config::{Reader, public_webhook_url};

/// Rate limit account of the app's own calls, which concern no account of the provider.
pub(super) const APP_ACCOUNT: &str = "app";

/// Seconds of the minute for which providers state limits.
pub(super) const SECONDS_PER_MINUTE: f64 = 60.0;

/// Rounds a number of calls or units down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number, and a cast saturates"
)]
pub(super) const fn whole(number: f64) -> u32 {
    number as u32
}

/// Builds a URL from a base, which may have a path (`/api/v3`), and segments to encode.
pub(super) fn url_below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// Warns that a provider's webhooks are rejected, if no secret verifies them.
pub(super) fn warn_without_webhook_secret(provider: &'static str, secrets: &[SecretString]) {
    if secrets.is_empty() {
        tracing::warn!(provider, "no webhook secret is set, rejecting all webhooks");
    }
}

/// Settings of a provider's app, which the operator registers at the provider.
pub trait App: Sized {
    /// The app's name in error messages.
    const NAME: &'static str;

    /// Reads the limits of calls, which apply to every app.
    fn limits(reader: &mut AppReader<'_, '_>) -> RateLimits;

    /// Reads the app; `None` if a value that has no placeholder is missing.
    ///
    /// It is also called for an app that is not configured, so it reads every setting before it
    /// returns.
    fn read(reader: &mut AppReader<'_, '_>, limits: RateLimits) -> Option<Self>;

    /// Describes the provider with these limits.
    fn descriptor(limits: RateLimits) -> ProviderDescriptor;
}

/// Settings of a provider.
#[derive(Debug)]
pub struct ProviderSettings<A> {
    /// Limits of calls.
    pub limits: RateLimits,
    /// The app; `None` if the provider is not configured.
    pub app: Option<A>,
}

impl<A: App> ProviderSettings<A> {
    /// Reads the settings and notes problems in the reader.
    pub fn from_reader(reader: &mut Reader<'_>) -> Self {
        let mut reader = AppReader::new(reader);
        let limits = A::limits(&mut reader);
        let app = A::read(&mut reader, limits.clone());
        let is_configured = reader.check_app(A::NAME);
        Self {
            limits,
            app: app.filter(|_| is_configured),
        }
    }

    /// Describes the provider.
    pub fn descriptor(&self) -> ProviderDescriptor {
        A::descriptor(self.limits.clone())
    }

    /// The names of all settings of the provider, without the prefix of all variables.
    #[cfg(test)]
    pub fn names() -> Vec<&'static str> {
        let env = crate::config::Env::default();
        let mut reader = Reader::new(&env);
        let mut reader = AppReader::new(&mut reader);
        let limits = A::limits(&mut reader);
        drop(A::read(&mut reader, limits));
        reader.settings.iter().map(|setting| setting.name).collect()
    }
}

/// Reader of the settings of one app, by names without the prefix (`"JIRA_CLIENT_ID"`).
///
/// Like [`Reader`], it returns placeholders for missing and invalid values.
pub struct AppReader<'r, 'e> {
    reader: &'r mut Reader<'e>,
    settings: Vec<Setting>,
}

struct Setting {
    name: &'static str,
    role: Role,
}

/// Relation of a setting to its app.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Every app has it.
    Required,
    /// Some apps have it, so its presence means that an app is configured.
    Optional,
    /// It has a default and concerns no app in particular.
    Defaulted,
}

impl<'r, 'e> AppReader<'r, 'e> {
    /// A reader of an app's settings from all settings.
    pub(super) const fn new(reader: &'r mut Reader<'e>) -> Self {
        Self {
            reader,
            settings: Vec::new(),
        }
    }

    /// Records a problem of a setting. The reason must not quote the value.
    pub(super) fn problem(&mut self, name: &str, reason: impl Into<String>) {
        self.reader.problem(name, reason);
    }

    /// The app's OAuth client, which every app has: its id, and one or two secrets.
    pub(super) fn oauth_client(&mut self, id: &'static str, secrets: &'static str) -> OAuthClient {
        OAuthClient {
            id: self.required(id),
            secrets: self.required_secrets(secrets),
        }
    }

    /// A text that every app has.
    pub(super) fn required(&mut self, name: &'static str) -> String {
        self.text(name, Role::Required).unwrap_or_default()
    }

    /// A secret that every app has, of any form.
    pub(super) fn required_secret(&mut self, name: &'static str) -> Option<SecretString> {
        self.text(name, Role::Required).map(SecretString::from)
    }

    /// One or two secrets (during a rotation) that every app has.
    pub(super) fn required_secrets(&mut self, name: &'static str) -> Vec<SecretString> {
        self.declare(name, Role::Required);
        self.reader.one_or_two_secrets(name)
    }

    /// A text that some apps have.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<String> {
        self.text(name, Role::Optional)
    }

    /// None, one or two secrets (during a rotation).
    pub(super) fn optional_secrets(&mut self, name: &'static str) -> Vec<SecretString> {
        self.declare(name, Role::Optional);
        self.reader.one_or_two_secrets(name)
    }

    /// The URL of the app's webhooks, as the provider sees it.
    pub(super) fn webhook_url(&mut self, slug: &str) -> Url {
        url_below(&public_webhook_url(self.reader), &["webhooks", slug])
    }

    /// A base URL; the real provider's by default.
    pub(super) fn base_url(&mut self, name: &'static str, default: &str) -> Url {
        self.declare(name, Role::Defaulted);
        self.reader.url(name, default)
    }

    /// A base URL that replaces the real provider's, if it is set.
    pub(super) fn optional_base_url(&mut self, name: &'static str) -> Option<Url> {
        self.declare(name, Role::Defaulted);
        self.reader.optional_url(name)
    }

    /// A text with a default.
    pub(super) fn defaulted(&mut self, name: &'static str) -> Option<String> {
        self.text(name, Role::Defaulted)
    }

    /// A number between two inclusive bounds.
    pub(super) fn within<T>(&mut self, name: &'static str, default: T, min: T, max: T) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        self.declare(name, Role::Defaulted);
        self.reader.within(name, default, min, max)
    }

    fn text(&mut self, name: &'static str, role: Role) -> Option<String> {
        self.declare(name, role);
        self.reader.optional_string(name)
    }

    fn declare(&mut self, name: &'static str, role: Role) {
        self.settings.push(Setting { name, role });
    }

    /// Returns whether the operator configured the app: one of its settings is set.
    ///
    /// An incomplete configuration is a mistake, so each missing setting becomes a problem.
    fn check_app(&mut self, app: &str) -> bool {
        let of_app = |setting: &&Setting| setting.role != Role::Defaulted;
        let mut of_app = self.settings.iter().filter(of_app);
        if !of_app.any(|setting| self.reader.is_set(setting.name)) {
            return false;
        }
        for setting in &self.settings {
            if setting.role == Role::Required && !self.reader.is_set(setting.name) {
                self.reader.problem(
                    setting.name,
                    format!("is not set, though other settings of the {app} are"),
                );
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
