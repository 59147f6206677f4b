//! The registry of providers, one line each, and the trait that every provider implements.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::unfinished::Unfinished;
use super::usage::Quota;
use super::{Config, Core, StartError};

/// A simulated provider, as the server and the control API use it.
pub(crate) trait Provider: Send + Sync {
    /// Slug in the ledger.
    fn source(&self) -> &'static str;
    /// The provider's part of the control API's index, with the paths of its own routes.
    fn index(&self) -> &'static str;
    /// Settings with which a process reaches the provider, by name without the common prefix.
    fn env(&self) -> Vec<(&'static str, String)>;
    /// Settings with which a process's own limits delay no call, in the form of [`Self::env`].
    fn unlimited_env(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// Routes of the provider and of its part of the control API.
    fn router(self: Arc<Self>) -> Router;
    /// Containers that the API shows now.
    fn visible(&self) -> HashSet<u64>;
    /// Deliveries without an outcome.
    fn unfinished(&self) -> &Unfinished;
    /// Statistics of deliveries.
    fn deliveries(&self) -> Value;
    /// Resets the used quota.
    fn reset_limits(&self);
    /// A limit of an account by name; `None` if it is not enforced.
    fn quota(&self, account: &str, limit: &str) -> Option<Quota>;
    /// Whether a list shows a fact of this kind as it happens.
    ///
    /// Otherwise only its delivery and a second read of the past report it.
    fn is_listed(&self, _kind: &str, _dedupe_key: &str) -> bool {
        true
    }
    /// Shortens the delays between attempts of a delivery to less than a second.
    fn shorten_retry_delays(&self) {}
    /// Generates facts at a rate per second until `stop` is cancelled.
    fn run_activity(self: Arc<Self>, rate: f64, stop: CancellationToken) -> BoxFuture<'static, ()>;
}

/// The shared part of one vendor's providers, as the server and the control API use it.
pub(crate) trait Family: Send + Sync {
    /// Name in settings and paths.
    fn name(&self) -> &'static str;
    /// The family's part of the control API's index.
    fn index(&self) -> &'static str;
    /// Settings with which a process reaches the family, by name without the common prefix.
    fn env(&self) -> Vec<(&'static str, String)>;
    /// Routes of the family and of its part of the control API.
    fn router(self: Arc<Self>) -> Router;
    /// Shortens the delays between attempts of a delivery to less than a second.
    fn shorten_retry_delays(&self) {}
}

/// Defines the families and providers, and the functions that iterate over all of them.
///
/// A provider `of` a family is created with it.
macro_rules! providers {
    (
        families { $($family:ident: $shared:ident;)* }
        $($module:ident: $provider:ident, $options:ident $(, of $parent:ident)?;)*
    ) => {
        /// Options of each provider.
        #[derive(Debug, Clone, Default, clap::Args)]
        pub struct ProviderOptions {
            $(
                /// Options of this provider.
                #[command(flatten)]
                pub $module: crate::$module::$options,
            )*
        }

        /// All simulated providers.
        pub(crate) struct Providers {
            $(pub(crate) $family: Arc<crate::$family::$shared>,)*
            $(pub(crate) $module: Arc<crate::$module::$provider>,)*
        }

        impl Providers {
            /// Creates the providers with their worlds.
            pub(crate) fn start(
                config: &Config,
                base: &str,
                seed: u64,
                core: &Arc<Core>,
            ) -> Result<Self, StartError> {
                $(let $family =
                    crate::$family::$shared::start(config, base, seed, Arc::clone(core))?;)*
                Ok(Self {
                    $($module: crate::$module::$provider::start(
                        config,
                        base,
                        seed,
                        Arc::clone(core),
                        $(Arc::clone(&$parent),)?
                    )?,)*
                    $($family,)*
                })
            }

            /// The providers in the order of the registry.
            pub(crate) fn all(&self) -> Arc<[Arc<dyn Provider>]> {
                Arc::new([$(Arc::clone(&self.$module) as Arc<dyn Provider>,)*])
            }

            /// Part of the control API with a provider's tokens: its family's, or its own.
            pub(crate) fn token_owner(source: &str) -> Option<&'static str> {
                $(
                    let owner = [$(stringify!($parent),)? stringify!($module)][0];
                    if source == stringify!($module) {
                        return Some(owner);
                    }
                )*
                None
            }

            /// The families in the order of the registry.
            pub(crate) fn families(&self) -> Arc<[Arc<dyn Family>]> {
                Arc::new([$(Arc::clone(&self.$family) as Arc<dyn Family>,)*])
            }
        }
    };
}

providers! {
    families { google: Google; zoho: Zoho; }
    github: GitHub, GitHubOptions;
    slack: Slack, SlackOptions;
    jira: Jira, JiraOptions;
    google_drive: GoogleDrive, GoogleDriveOptions, of google;
    google_calendar: GoogleCalendar, GoogleCalendarOptions, of google;
    gmail: Gmail, GmailOptions, of google;
    zoho_cliq: ZohoCliq, ZohoCliqOptions, of zoho;
    zoho_mail: ZohoMail, ZohoMailOptions, of zoho;
}
