//! The registry of providers, one line each.
//!
//! [`ConnectorSettings`] is read first, with all other settings, because the rate limiter needs the
//! limits before a connector is built. [`Registry::new`] then builds the configured connectors; a
//! provider that is not configured is listed too.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Connector, ProviderDescriptor, RateLimits, WebhookVerifier};
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::http::{HttpError, Outbound, OutboundBuilder, RateLimiter};

/// Dependencies of every connector.
#[derive(Clone)]
pub struct ConnectorDeps {
    /// Clock.
    pub clock: SharedClock,
    /// Rate limiter of all outbound calls.
    pub rate_limiter: Arc<dyn RateLimiter>,
}

impl ConnectorDeps {
    /// Starts building the HTTP client of a provider.
    pub(super) fn outbound(&self, provider: &'static str) -> OutboundBuilder {
        Outbound::builder(provider, self.rate_limiter.clone(), self.clock.clone())
    }
}

/// Defines the providers, and the functions that iterate over all of them.
macro_rules! providers {
    ($($module:ident: $connector:ident, $settings:ident;)*) => {
        /// Settings of all providers.
        #[derive(Debug)]
        pub struct ConnectorSettings {
            $($module: super::$module::$settings,)*
            added: Vec<AddedProvider>,
        }

        impl ConnectorSettings {
            /// Reads the settings of all providers and notes problems in the reader.
            pub fn from_reader(reader: &mut Reader<'_>) -> Self {
                Self {
                    $($module: super::$module::$settings::from_reader(reader),)*
                    added: Vec::new(),
                }
            }

            /// Adds a provider that is not in the list below.
            pub fn add(&mut self, provider: AddedProvider) {
                self.added.push(provider);
            }

            /// The names of all settings, without the prefix of all variables.
            #[cfg(test)]
            pub fn names() -> std::collections::BTreeSet<&'static str> {
                [$(super::$module::$settings::names(),)*].into_iter().flatten().collect()
            }

            /// Settings of all providers for tests, with this address in place of the providers'.
            #[cfg(test)]
            pub(super) fn of_tests(base: &str) -> Vec<(&'static str, String)> {
                [$(super::$module::tests::settings(base),)*].concat()
            }

            /// The limits of all providers by slug, for the rate limiter.
            pub fn limits(&self) -> HashMap<&'static str, RateLimits> {
                let added = self.added.iter().map(|provider| provider.descriptor.clone());
                [$(self.$module.descriptor(),)*]
                    .into_iter()
                    .chain(added)
                    .map(|known| (known.slug, known.limits))
                    .collect()
            }
        }

        impl WebhookRegistry {
            /// Reads the webhook settings of all providers.
            pub fn from_reader(reader: &mut Reader<'_>, clock: &SharedClock) -> Self {
                Self(vec![$(
                    Arc::new(super::$module::Webhooks::from_reader(reader, clock)),
                )*])
            }
        }

        impl Registry {
            /// Builds all configured connectors.
            pub fn new(settings: ConnectorSettings, deps: &ConnectorDeps) -> Result<Self, HttpError> {
                let mut entries = vec![$(
                    entry(settings.$module.descriptor(), settings.$module.app, |app| {
                        super::$module::$connector::new(app, deps)
                    })?,
                )*];
                for AddedProvider { descriptor, build } in settings.added {
                    let connector = Some(build(deps)?);
                    entries.push(Entry { descriptor, connector });
                }
                Ok(Self(entries))
            }
        }
    };
}

providers! {
    github: GitHub, GitHubSettings;
    slack: Slack, SlackSettings;
    jira: Jira, JiraSettings;
    google_drive: GoogleDrive, GoogleDriveSettings;
    google_calendar: GoogleCalendar, GoogleCalendarSettings;
    gmail: Gmail, GmailSettings;
    zoho_cliq: ZohoCliq, ZohoCliqSettings;
    zoho_mail: ZohoMail, ZohoMailSettings;
}

/// Builds a connector from the dependencies of every connector.
type Build = Box<dyn FnOnce(&ConnectorDeps) -> Result<Arc<dyn Connector>, HttpError> + Send + Sync>;

/// A configured provider that a program adds to those of the registry.
pub struct AddedProvider {
    descriptor: ProviderDescriptor,
    build: Build,
}

impl AddedProvider {
    /// A provider with this descriptor, whose connector `build` creates.
    pub fn new<C: Connector + 'static>(
        descriptor: ProviderDescriptor,
        build: impl FnOnce(&ConnectorDeps) -> Result<C, HttpError> + Send + Sync + 'static,
    ) -> Self {
        let build: Build = Box::new(move |deps| Ok(Arc::new(build(deps)?)));
        Self { descriptor, build }
    }
}

impl std::fmt::Debug for AddedProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AddedProvider")
            .field(&self.descriptor.slug)
            .finish()
    }
}

/// A provider, configured or not.
struct Entry {
    descriptor: ProviderDescriptor,
    connector: Option<Arc<dyn Connector>>,
}

/// All providers, by slug.
pub struct Registry(Vec<Entry>);

impl Registry {
    /// The connector of a provider.
    pub fn get(&self, slug: &str) -> Result<Arc<dyn Connector>, RegistryError> {
        let entry = self
            .0
            .iter()
            .find(|entry| entry.descriptor.slug == slug)
            .ok_or_else(|| RegistryError::Unknown(slug.to_owned()))?;
        entry
            .connector
            .clone()
            .ok_or(RegistryError::NotConfigured(entry.descriptor.slug))
    }

    /// Adds a connector, replacing its provider's previous one.
    pub fn replace(&mut self, connector: Arc<dyn Connector>) {
        let descriptor = connector.descriptor().clone();
        self.0
            .retain(|entry| entry.descriptor.slug != descriptor.slug);
        self.0.push(Entry {
            descriptor,
            connector: Some(connector),
        });
    }

    /// Iterates over all providers, each with whether it is configured.
    pub fn iter(&self) -> impl Iterator<Item = (&ProviderDescriptor, bool)> {
        self.0
            .iter()
            .map(|entry| (&entry.descriptor, entry.connector.is_some()))
    }
}

/// Webhook verifiers of all providers, configured or not.
pub struct WebhookRegistry(Vec<Arc<dyn WebhookVerifier>>);

impl WebhookRegistry {
    /// Adds a verifier, replacing its provider's previous one.
    pub fn replace(&mut self, verifier: Arc<dyn WebhookVerifier>) {
        let slug = verifier.descriptor().slug;
        self.0.retain(|known| known.descriptor().slug != slug);
        self.0.push(verifier);
    }

    /// Prepares all verifiers for deliveries, in the background.
    pub fn prepare(&self) {
        for verifier in &self.0 {
            verifier.prepare();
        }
    }

    /// The verifier of the provider with this slug.
    pub fn get(&self, slug: &str) -> Option<&dyn WebhookVerifier> {
        let mut all = self.0.iter();
        all.find(|verifier| verifier.descriptor().slug == slug)
            .map(|verifier| &**verifier)
    }
}

impl std::fmt::Debug for WebhookRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slugs = self.0.iter().map(|verifier| verifier.descriptor().slug);
        f.debug_list().entries(slugs).finish()
    }
}

/// Reason why a connector is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No provider has this slug.
    #[error("unknown provider {0:?}")]
    Unknown(String),
    /// The provider is not configured.
    #[error("the provider {0} is not configured")]
    NotConfigured(&'static str),
}

/// Builds a provider's entry, with a connector if it has settings.
///
/// A connector's own description takes precedence, because it depends on the settings.
fn entry<S, C: Connector + 'static>(
    descriptor: ProviderDescriptor,
    settings: Option<S>,
    build: impl FnOnce(S) -> Result<C, HttpError>,
) -> Result<Entry, HttpError> {
    let connector = settings.map(build).transpose()?;
    let connector = connector.map(|built| Arc::new(built) as Arc<dyn Connector>);
    let described = connector.as_ref().map(|built| built.descriptor().clone());
    Ok(Entry {
        descriptor: described.unwrap_or(descriptor),
        connector,
    })
}

#[cfg(test)]
mod tests;
