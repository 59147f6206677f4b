//! The parts of a Signal: who acted, on which object, and where.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The account that acted; [`Actor::unknown`] if the provider names none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// The provider's id of the account; absent if the provider gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The display name; absent if the provider gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kind of account.
    #[serde(rename = "type")]
    pub kind: ActorKind,
}

impl Actor {
    /// The actor of a fact without a named account: a deleted account, a system event.
    pub const fn unknown() -> Self {
        Self {
            id: None,
            name: None,
            kind: ActorKind::Unknown,
        }
    }
}

/// The kind of account that acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    User,
    /// An automated account.
    Bot,
    /// An application that acts without a user.
    App,
    /// The provider does not state the kind.
    Unknown,
}

/// The object that the fact is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subject {
    /// The type of the object: `issue`, `pull_request`, `release`, `branch` …
    #[serde(rename = "type")]
    pub kind: String,
    /// The provider's id.
    pub id: String,
    /// The short name, such as `octo/repo#42`.
    pub key: Option<String>,
    /// The title; null if the provider gives none.
    pub title: Option<String>,
    /// A stable deep link; null if the provider gives none.
    pub url: Option<String>,
}

/// The place where the fact happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Context {
    /// The type of the place.
    #[serde(rename = "type")]
    pub kind: ContextKind,
    /// The provider's id of the place; absent if the provider gives none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The display name.
    pub name: Option<String>,
}

/// The types of places where facts happen.
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
