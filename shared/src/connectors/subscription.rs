//! Subscriptions: what a provider must be asked for before it sends webhooks, and asked for
//! again before it stops.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What a subscription is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionSpec {
    /// Stable name, unique in the connection: two subscriptions of the same name do the
    /// same. Different projects make a different name.
    pub resource: String,
    /// What the connector needs to ask for it.
    pub target: serde_json::Value,
}

/// A subscription as the provider holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// What it is for.
    pub resource: String,
    /// The provider's id.
    pub external_id: String,
    /// What its deliveries are routed by, where that is not the account's id.
    pub route: Option<String>,
    /// When it ends by itself; `None` if it does not.
    pub expires_at: Option<DateTime<Utc>>,
    /// Events that were asked for and that the provider refused; it does without them.
    pub refused_events: Vec<String>,
}

impl Subscription {
    /// What a subscription is for that was registered to find out which events the provider
    /// accepts, and was not deleted. It takes the place of one that is needed.
    pub fn leftover_of(resource: &str) -> String {
        format!("leftover:{resource}")
    }
}
