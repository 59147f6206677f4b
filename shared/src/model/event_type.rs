//! The types of events that this release writes.

use strum::{IntoStaticStr, VariantArray};

/// The type of an event. Later releases may write others, so readers get it as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum EventType {
    /// A person connected an account, for the first time or again.
    #[strum(serialize = "connection.connected")]
    ConnectionConnected,
    /// The first read of an account's past has ended.
    #[strum(serialize = "connection.backfilled")]
    ConnectionBackfilled,
    /// Nothing is read until a person acts.
    #[strum(serialize = "connection.action_required")]
    ConnectionActionRequired,
    /// A part of the connection does not work, or not for now.
    #[strum(serialize = "connection.degraded")]
    ConnectionDegraded,
    /// The connection works again.
    #[strum(serialize = "connection.recovered")]
    ConnectionRecovered,
    /// The connection has ended.
    #[strum(serialize = "connection.disconnected")]
    ConnectionDisconnected,
    /// A subscription expires soon and was not renewed.
    #[strum(serialize = "subscription.expiring")]
    SubscriptionExpiring,
    /// Many webhook requests of a provider are rejected; for operators only.
    #[strum(serialize = "deliveries.rejected")]
    DeliveriesRejected,
}

impl EventType {
    /// The name in the database and in the API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The order among events of the same time.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::ConnectionConnected => 0,
            Self::ConnectionBackfilled => 1,
            _ => 2,
        }
    }
}
