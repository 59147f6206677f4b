//! Subscriptions: registrations for webhooks, which expire unless they are renewed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Specification of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionSpec {
    /// Stable name, unique in the connection.
    ///
    /// Subscriptions with the same name are equivalent. A different set of projects has a
    /// different name.
    pub resource: String,
    /// Connector-specific parameters of the registration.
    pub target: serde_json::Value,
}

/// A subscription as the provider holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Name of the specification, as in [`SubscriptionSpec::resource`].
    pub resource: String,
    /// The provider's id.
    pub external_id: String,
    /// Route of its deliveries, if that is not the account's id.
    pub route: Option<String>,
    /// Connector-specific data that its end or renewal needs; no secrets.
    pub state: serde_json::Value,
    /// Expiry; `None` if it does not expire.
    pub expires_at: Option<DateTime<Utc>>,
    /// Requested events that the provider rejected; the subscription does not include them.
    pub refused_events: Vec<String>,
}

impl Subscription {
    /// Name of a leftover subscription, registered to probe which events the provider accepts.
    ///
    /// It counts against the provider's limit until it is deleted.
    pub fn leftover_of(resource: &str) -> String {
        format!("leftover:{resource}")
    }

    /// Name of a subscription that another one has replaced, until it is deleted.
    pub fn replaced(resource: &str, external_id: &str) -> String {
        format!("replaced:{resource}:{external_id}")
    }

    /// Whether this is the name of a subscription that another one has replaced.
    pub fn is_replaced(resource: &str) -> bool {
        resource.starts_with("replaced:")
    }
}
