//! The Signal: one fact about a team's activity, in words that do not depend on the
//! provider, and the feed that serves Signals in commit order.
//!
//! Identity is the dedupe key: built only from what the provider says about the fact, so
//! that webhook, backfill and polling name it alike.

mod draft;
mod feed;
mod kind;
mod signal;
mod store;
mod subjects;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use draft::{SignalDraft, TimestampSource, is_web_url, mark_received};
pub use feed::{
    Completeness, Cursor as FeedCursor, Feed, FeedCompleteness, FeedError, FeedPage, FeedQuery,
    Growth, Mark,
};
pub use kind::{SignalKind, UnknownKind};
pub use signal::{Payload, Signal};
pub use store::{NewSignal, store};
pub use subjects::latest_by_subject;

/// The version of the Signal's shape that is written today.
pub const SCHEMA_VERSION: i16 = 1;

/// Who acted, as the provider names them; [`Actor::unknown`] when it does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// The provider's id of the account; absent when the provider does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name people see; absent when the provider does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What kind of account it is.
    #[serde(rename = "type")]
    pub kind: ActorKind,
}

impl Actor {
    /// The actor of a fact whose provider names none: a deleted account, a system event.
    pub const fn unknown() -> Self {
        Self {
            id: None,
            name: None,
            kind: ActorKind::Unknown,
        }
    }
}

/// What kind of account acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    User,
    /// An automated account.
    Bot,
    /// An application acting as itself.
    App,
    /// The provider does not say.
    Unknown,
}

/// The thing the fact is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subject {
    /// What it is: `issue`, `pull_request`, `release`, `branch` …
    #[serde(rename = "type")]
    pub kind: String,
    /// The provider's id.
    pub id: String,
    /// The short name people use, such as `octo/repo#42`.
    pub key: Option<String>,
    /// Its title, as far as the provider gives one.
    pub title: Option<String>,
    /// A stable deep link; null rather than guessed.
    pub url: Option<String>,
}

/// Where the fact happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Context {
    /// What the place is.
    #[serde(rename = "type")]
    pub kind: ContextKind,
    /// The provider's id of the place; absent when the provider does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The name people use for it.
    pub name: Option<String>,
}

/// The kinds of places facts happen in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContextKind {
    /// A code repository.
    Repository,
    /// An issue tracker's project.
    Project,
    /// A team channel.
    Channel,
    /// A calendar.
    Calendar,
    /// A shared or personal drive.
    Drive,
    /// A mailbox.
    Mailbox,
    /// A direct or group conversation.
    Chat,
}
