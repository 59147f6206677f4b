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

/// Defines the providers, and the functions that iterate over all of them.
macro_rules! providers {
    ($($module:ident: $provider:ident, $options:ident;)*) => {
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
                Ok(Self {
                    $($module: crate::$module::$provider::start(
                        config,
                        base,
                        seed,
                        Arc::clone(core),
                    )?,)*
                })
            }

            /// The providers in the order of the registry.
            pub(crate) fn all(&self) -> Arc<[Arc<dyn Provider>]> {
                Arc::new([$(Arc::clone(&self.$module) as Arc<dyn Provider>,)*])
            }
        }
    };
}

providers! {
    github: GitHub, GitHubOptions;
    slack: Slack, SlackOptions;
    jira: Jira, JiraOptions;
}
