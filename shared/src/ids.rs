//! Typed identifiers: a tenant's id cannot be passed where a connection's is meant.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        #[schema(value_type = String, format = Uuid)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identifier; later ones sort after earlier ones (UUID version 7).
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id! {
    /// A customer's team.
    TenantId
}
id! {
    /// One tenant's grant at one provider account.
    ConnectionId
}
id! {
    /// A unit of work in the queue.
    JobId
}
id! {
    /// A webhook request as received.
    DeliveryId
}
id! {
    /// A Signal.
    SignalId
}
id! {
    /// A tenant's API key (not the key itself).
    ApiKeyId
}
id! {
    /// A running sync-worker, as others see it in Postgres.
    WorkerId
}

impl DeliveryId {
    /// A new identifier that carries this moment, in milliseconds since 1970.
    pub fn at(milliseconds: u64) -> Self {
        let mut random = [0; 10];
        random.copy_from_slice(&Uuid::now_v7().as_bytes()[6..]);
        Self(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
    }

    /// Whether it carries a time of receipt. An id that does not cannot be a delivery's.
    pub fn carries_time(self) -> bool {
        self.0.get_timestamp().is_some()
    }

    /// The time of receipt that it carries, in milliseconds: an id alone leads to its partition.
    pub fn received_at(self) -> DateTime<Utc> {
        let milliseconds = self.0.get_timestamp().map_or(0, |stamp| {
            let (seconds, nanos) = stamp.to_unix();
            i64::try_from(seconds).unwrap_or(0) * 1000 + i64::from(nanos / 1_000_000)
        });
        DateTime::from_timestamp_millis(milliseconds).unwrap_or_default()
    }
}

impl TenantId {
    /// Owner of rows that no tenant owns: deliveries that match no connection yet and
    /// jobs about the installation as a whole. No credential can be scoped to it except
    /// an operator's.
    pub const UNASSIGNED: Self = Self(Uuid::nil());
}
