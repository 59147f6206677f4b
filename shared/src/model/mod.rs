//! The types that all layers share: ids, accounts, streams, jobs, drafts of Signals.
//!
//! They depend on no other module. Layers above combine them: connectors produce them, the database
//! stores them, the queue carries them.

#[macro_use]
mod stored_enum;

mod account;
mod connection_status;
mod delivery;
mod directory;
mod event_type;
mod ids;
mod job;
mod job_kind;
mod job_state;
mod limit_scope;
mod operator_role;
mod push_ways;
mod resource;
mod signal;
mod signal_draft;
mod signal_kind;
mod stream;
mod subscription;

pub use account::{ExternalAccount, TokenHolder};
pub use connection_status::ConnectionStatus;
pub use delivery::{DeliveryOutcome, DeliverySource};
pub use directory::{DirectoryEntry, DirectoryKey, DirectoryKind};
pub use event_type::EventType;
pub use ids::*;
pub use job::{Enqueued, JobError, NewJob};
pub use job_kind::*;
pub use job_state::JobState;
pub use limit_scope::LimitScope;
pub use operator_role::OperatorRole;
pub use push_ways::PushWays;
pub use resource::Resource;
pub use signal::{Actor, ActorKind, Context, ContextKind, Subject};
pub use signal_draft::{SignalDraft, TimestampSource, is_web_url, mark_received};
pub use signal_kind::{SignalKind, UnknownKind};
pub use stream::StreamSpec;
pub use subscription::{Subscription, SubscriptionSpec};
