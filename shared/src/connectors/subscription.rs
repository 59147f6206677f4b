//! Requests for subscriptions and the results of renewals.

use url::Url;

use crate::model::{Subscription, SubscriptionSpec};

/// Request to create a subscription, or to replace one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The desired subscription.
    pub spec: SubscriptionSpec,
    /// Id for the subscription, with [`super::SubscriptionIds::Planned`].
    ///
    /// It is stored, and deliveries with this route already reach the connection, before the
    /// provider is called. It is used once and cannot be guessed.
    pub planned_id: Option<String>,
    /// URL to which the provider sends deliveries.
    pub webhook_url: Url,
}

/// Result of a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// The same subscription with its new expiry.
    Extended(Subscription),
    /// A new subscription beside the renewed one, which the service ends afterwards.
    ///
    /// Deliveries of both reach the connection until then.
    Replaced(Subscription),
}
