//! The inbox: the path of a delivery from the provider's request to its row and its job.
//!
//! A [`RawDelivery`] is a request as received. [`RawDelivery::verify`] alone makes a
//! [`VerifiedDelivery`] of it, and only that can be stored. One statement writes many deliveries
//! with their dedupe rows and jobs, and a request is acknowledged after the commit.

mod backlog;
mod connection_keys;
mod delivery;
mod fan_out;
mod group_commit;
mod load_shedding;
mod rematch;
mod replay;
mod repository;
mod store;
mod unreadable;

pub use backlog::{Backlog, Quotas};
pub use connection_keys::{ConnectionKeys, ConnectionRoute};
pub use delivery::{RawDelivery, VerifiedDelivery};
pub use fan_out::fan_out;
pub use group_commit::{Inbox, InboxConfig, InboxError};
pub use rematch::rematch;
pub use replay::{ReplayOutcome, replay};
pub use repository::{Outcome, StoredDelivery, load, load_one, record_outcomes};
pub use store::{StoreLimits, StoreOutcome, store};
pub use unreadable::{PollSource, keep_unreadable};
