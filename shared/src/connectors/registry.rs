//! The list of providers: one line each.
//!
//! [`ConnectorSettings`] is read first, with every other setting, because the rate gate
//! needs the limits before any connector can be built; [`Registry::new`] then builds the
//! connectors that are configured. A provider that is not is listed all the same.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Connector, ProviderDescriptor, RateLimits, WebhookVerifier};
use crate::clock::SharedClock;
use crate::config::Reader;
use crate::http::{HttpError, RateGate};

/// What every connector is given.
#[derive(Clone)]
pub struct ConnectorDeps {
    /// What time it is.
    pub clock: SharedClock,
    /// What every outbound call passes.
    pub gate: Arc<dyn RateGate>,
}

/// The list of providers, and everything that goes over all of them.
macro_rules! providers {
    ($($module:ident: $connector:ident, $settings:ident;)*) => {
        /// The settings of every provider, and with them the providers that exist.
        #[derive(Debug)]
        pub struct ConnectorSettings {
            $($module: super::$module::$settings,)*
        }

        impl ConnectorSettings {
            /// Reads the settings of every provider; what is wrong is noted in the reader.
            pub fn from_reader(reader: &mut Reader<'_>) -> Self {
                Self {
                    $($module: super::$module::$settings::from_reader(reader),)*
                }
            }

            /// The limits of every provider, by slug: what the rate gate is built with.
            pub fn limits(&self) -> HashMap<&'static str, RateLimits> {
                [$(self.$module.descriptor(),)*]
                    .into_iter()
                    .map(|known| (known.slug, known.limits))
                    .collect()
            }
        }

        impl WebhookRegistry {
            /// Reads the webhook settings of every provider.
            pub fn from_reader(reader: &mut Reader<'_>, clock: &SharedClock) -> Self {
                Self(vec![$(
                    Arc::new(super::$module::Webhooks::from_reader(reader, clock)),
                )*])
            }
        }

        impl Registry {
            /// Builds every connector that is configured.
            pub fn new(settings: ConnectorSettings, deps: &ConnectorDeps) -> Result<Self, HttpError> {
                Ok(Self(vec![$(
                    entry(settings.$module.descriptor(), settings.$module.app, |app| {
                        super::$module::$connector::new(app, deps)
                    })?,
                )*]))
            }
        }
    };
}

providers! {
    github: GitHub, GitHubSettings;
    slack: Slack, SlackSettings;
    jira: Jira, JiraSettings;
}

/// A provider that exists, configured or not.
struct Entry {
    descriptor: ProviderDescriptor,
    connector: Option<Arc<dyn Connector>>,
}

/// Every provider, by slug.
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

    /// Adds a connector, in place of its provider's present one if there is any.
    pub fn replace(&mut self, connector: Arc<dyn Connector>) {
        let descriptor = connector.descriptor().clone();
        self.0
            .retain(|entry| entry.descriptor.slug != descriptor.slug);
        self.0.push(Entry {
            descriptor,
            connector: Some(connector),
        });
    }

    /// Every provider, and whether it is configured.
    pub fn iter(&self) -> impl Iterator<Item = (&ProviderDescriptor, bool)> {
        self.0
            .iter()
            .map(|entry| (&entry.descriptor, entry.connector.is_some()))
    }
}

/// The webhook verifier of every provider, configured or not.
pub struct WebhookRegistry(Vec<Arc<dyn WebhookVerifier>>);

impl WebhookRegistry {
    /// Adds a verifier, in place of its provider's present one if there is any.
    pub fn replace(&mut self, verifier: Arc<dyn WebhookVerifier>) {
        let slug = verifier.descriptor().slug;
        self.0.retain(|known| known.descriptor().slug != slug);
        self.0.push(verifier);
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

/// Why there is no connector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No provider has this slug.
    #[error("there is no provider {0:?}")]
    Unknown(String),
    /// The provider exists, but the operator has not set it up.
    #[error("the provider {0} is not configured")]
    NotConfigured(&'static str),
}

/// One provider's entry, from its settings if it has any.
fn entry<S, C: Connector + 'static>(
    descriptor: ProviderDescriptor,
    settings: Option<S>,
    build: impl FnOnce(S) -> Result<C, HttpError>,
) -> Result<Entry, HttpError> {
    let connector = settings.map(build).transpose()?;
    Ok(Entry {
        descriptor,
        connector: connector.map(|built| Arc::new(built) as Arc<dyn Connector>),
    })
}
