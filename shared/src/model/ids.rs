//! Typed identifiers, so that a tenant's id cannot be passed as a connection's.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            Serialize, Deserialize, sqlx::Type, sea_orm::DeriveValueType, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        #[schema(value_type = String, format = Uuid)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Generates an identifier that sorts after earlier ones (UUID version 7).
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        // SeaORM asks it of every primary key; no id is a number.
        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(number: u64) -> Result<Self, sea_orm::DbErr> {
                Uuid::try_from_u64(number).map(Self)
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
    /// The id of a tenant.
    TenantId
}
id! {
    /// The id of a connection.
    ConnectionId
}
id! {
    /// The id of a job.
    JobId
}
id! {
    /// The id of a delivery.
    DeliveryId
}
id! {
    /// The id of an event.
    EventId
}
id! {
    /// The id of a Signal.
    SignalId
}
id! {
    /// The id of an API key (not the key itself).
    ApiKeyId
}
id! {
    /// The id of an entry of the audit log.
    AuditEntryId
}
id! {
    /// The id of a named operator.
    OperatorId
}
id! {
    /// The id of an operator's session in the console.
    OperatorSessionId
}
id! {
    /// The id of a sync-worker process.
    WorkerId
}

impl DeliveryId {
    /// Generates an identifier with this time of receipt, in milliseconds since 1970.
    pub fn at(milliseconds: u64) -> Self {
        let mut random = [0; 10];
        random.copy_from_slice(&Uuid::now_v7().as_bytes()[6..]);
        Self(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
    }

    /// Whether it contains a time of receipt, as the id of every delivery does.
    pub fn carries_time(self) -> bool {
        self.0.get_timestamp().is_some()
    }

    /// The time of receipt that it contains, in milliseconds, which determines its partition.
    pub fn received_at(self) -> DateTime<Utc> {
        let milliseconds = self.0.get_timestamp().map_or(0, |stamp| {
            let (seconds, nanos) = stamp.to_unix();
            i64::try_from(seconds).unwrap_or(0) * 1000 + i64::from(nanos / 1_000_000)
        });
        DateTime::from_timestamp_millis(milliseconds).unwrap_or_default()
    }
}

impl EventId {
    /// Generates an identifier that sorts by this time, to the microsecond, and then by `rank`.
    pub fn at(at: DateTime<Utc>, rank: u8) -> Self {
        let mut rest = [0; 10];
        rest[2..].copy_from_slice(&Uuid::new_v4().as_bytes()[8..]);
        Self::with_rest(at, rank, rest)
    }

    /// The smallest identifier of this time.
    pub fn first_at(at: DateTime<Utc>) -> Self {
        Self::with_rest(at, 0, [0; 10])
    }

    /// Twelve bits follow the milliseconds: ten of microseconds and two of the rank.
    fn with_rest(at: DateTime<Utc>, rank: u8, mut rest: [u8; 10]) -> Self {
        let micros = u64::try_from(at.timestamp_micros()).unwrap_or(0);
        let within = u16::try_from(micros % 1000).unwrap_or(0) * 4 + u16::from(rank.min(3));
        rest[..2].copy_from_slice(&within.to_be_bytes());
        Self(uuid::Builder::from_unix_timestamp_millis(micros / 1000, &rest).into_uuid())
    }
}

impl TenantId {
    /// The nil id, the owner of rows without a tenant: unmatched deliveries, jobs of the service.
    ///
    /// Only an operator token gives access to it.
    pub const UNASSIGNED: Self = Self(Uuid::nil());
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn events_sort_by_time_and_rank() {
        let start = DateTime::from_timestamp_micros(1_800_000_000_000_998).expect("a time");
        let mut ids = Vec::new();
        for micros in 0..5 {
            let at = start + TimeDelta::microseconds(micros);
            ids.push(EventId::first_at(at));
            ids.extend((0..3).map(|rank| EventId::at(at, rank)));
        }
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids.iter().all(|id| id.0.get_version_num() == 7));
    }
}
