//! The ways by which a provider's deliveries reach a connection.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// The ways of a connection beside the app's URL, each with the time since which it exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushWays {
    /// Since when the connection has a key for deliveries to its own URL.
    pub own_url_since: Option<DateTime<Utc>>,
    /// Active subscriptions, by resource.
    pub subscribed_since: BTreeMap<String, DateTime<Utc>>,
}

impl PushWays {
    /// Since when any of them exists.
    pub fn since(&self) -> Option<DateTime<Utc>> {
        let subscribed = self.subscribed_since.values().copied();
        subscribed.chain(self.own_url_since).min()
    }
}
