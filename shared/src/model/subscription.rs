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
    /// A subscription under a planned id, which the provider has not confirmed.
    pub fn planned(resource: String, id: String) -> Self {
        Self {
            resource,
            route: Some(id.clone()),
            external_id: id,
            state: serde_json::Value::Null,
            expires_at: None,
            refused_events: Vec::new(),
        }
    }

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

    /// Name of the specification that it was created for, also if another one has replaced it.
    pub fn desired_resource(&self) -> &str {
        let replaced = self.resource.strip_prefix("replaced:");
        let name = replaced.and_then(|rest| rest.strip_suffix(self.external_id.as_str()));
        let name = name.and_then(|rest| rest.strip_suffix(':'));
        name.unwrap_or(&self.resource)
    }

    /// Whether this is the name of a subscription that another one has replaced.
    pub fn is_replaced(resource: &str) -> bool {
        resource.starts_with("replaced:")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_subscription_keeps_desired_resource() {
        let subscription =
            |resource: String| Subscription::planned(resource, "channel-1".to_owned());
        let replaced = Subscription::replaced("changes:drive", "channel-1");
        for name in ["changes:drive".to_owned(), replaced] {
            assert_eq!(subscription(name).desired_resource(), "changes:drive");
        }
        let other = "replaced:changes:channel-2".to_owned();
        assert_eq!(subscription(other.clone()).desired_resource(), other);
    }
}
