//! Providers that the product's registry lacks, added to the processes of a system.

use std::fmt::Debug;

use shared::connectors::{ConnectorSettings, WebhookRegistry};

/// Adds providers to every process that a system starts in this process.
pub trait AddedProviders: Debug + Send + Sync {
    /// Adds the connectors of the API and the workers.
    fn add_connectors(&self, settings: &mut ConnectorSettings);

    /// Adds the verifiers of the ingress.
    fn add_verifiers(&self, webhooks: &mut WebhookRegistry);
}
