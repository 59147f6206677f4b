//! The inbox: from a provider's request to a stored delivery and its job.
//!
//! [`RawDelivery`] is what came in; [`RawDelivery::verify`] is the only way to a
//! [`VerifiedDelivery`], and only that can be stored. A delivery, its place in the ledger
//! and its job are written by one statement for many requests at once, and a request is
//! acknowledged after the commit.

mod adopt;
mod backlog;
mod batch;
mod congestion;
mod connection_keys;
mod copy;
mod delivery;
mod process;
mod store;
mod unreadable;

pub use adopt::adopt;
pub use backlog::{Backlog, Quotas};
pub use batch::{Accept, Inbox, InboxConfig, InboxError};
pub use connection_keys::{ConnectionKeys, ConnectionRoute};
pub use copy::copy;
pub use delivery::{RawDelivery, VerifiedDelivery};
pub use process::{Outcome, StoredDelivery, load, load_one, record};
pub use store::{StoreLimits, Stored, store};
pub use unreadable::{ReadFrom, keep_unreadable};
