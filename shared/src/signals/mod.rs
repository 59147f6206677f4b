//! Signals, facts about a team's activity in provider-independent terms, and the feed of them.
//!
//! A Signal's identity is its dedupe key. It is built only from the provider's data about the
//! fact, so that webhook, backfill and polling produce the same key.

mod feed;
mod signal;
mod store;
mod subjects;

pub use feed::{
    Completeness, Cursor as FeedCursor, Feed, FeedCompleteness, FeedError, FeedPage, FeedQuery,
    FeedWatermark, UpdatedTenants,
};
pub use signal::{Payload, Signal};
pub use store::{NewSignal, store};
pub use subjects::latest_by_subject;

/// The version of the Signal's schema that this release writes.
pub const SCHEMA_VERSION: i16 = 1;
